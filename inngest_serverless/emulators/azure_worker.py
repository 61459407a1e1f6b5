"""What runs in the child process: Microsoft's Python runtime, and the wire to the host around it.

Azure's host and its Python worker exchange protocol buffers over gRPC. The worker's dispatcher,
which is not to be had apart from Azure, unpacks them for `azure-functions-runtime`, which is: it
loads function_app.py, decodes bindings, runs functions. Here the dispatcher is this file. It hands
the runtime the same messages in the same order, as plain objects, and speaks lines of JSON with
`azure_process`, in by standard input and out by what was standard output.

Run by path, never imported by the emulator: the child must load the runtime and the user's app and
nothing of this package.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO
from urllib.parse import urlsplit

RUNTIME = "azure_functions_runtime"

# The parts of which a message has one only.
ONE_OF: dict[str, tuple[str, ...]] = {
    "data": ("http", "string", "json", "bytes", "int", "double"),
    "rpc_data": ("data",),
}


class Message(SimpleNamespace):
    """A message of the worker's protocol: the fields that it was made with."""

    def WhichOneof(self, group: str) -> str | None:  # protobuf's own name
        """The field of a group that is there."""
        return next((name for name in ONE_OF[group] if hasattr(self, name)), None)


class StatusResult(Message):
    """How a request went."""

    Failure: int = 0
    Success: int = 1


class BindingInfo(Message):
    """What a binding is, with the constants that the runtime compares with."""

    undefined: int = 0
    out: int = 1
    inout: int = 2


class SameSite:
    """Constants of a cookie."""

    Lax: int = 1
    Strict: int = 2
    ExplicitNone: int = 3


setattr(SameSite, "None", 0)


class RpcHttpCookie(Message):
    """A cookie of an answer."""

    SameSite = SameSite


class Messages:
    """Stands for the module that protoc makes: each message that is asked for by name."""

    StatusResult = StatusResult
    BindingInfo = BindingInfo
    RpcHttpCookie = RpcHttpCookie

    def __getattr__(self, name: str) -> type[Message]:
        made = type(name, (Message,), {})
        setattr(self, name, made)  # the same one each time
        return made


PROPERTIES: dict[str, Any] = {"host": "127.0.0.1", "protos": Messages()}


class Failed(Exception):
    """The runtime says that something of the app's went wrong, and what."""


class Worker:
    """The runtime, answering what the host sends."""

    def __init__(self, outbox: BinaryIO) -> None:
        self._outbox = outbox
        self._runtime: Any = importlib.import_module(RUNTIME)
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self, directory: str) -> None:
        """Load the app, and tell the host its functions, or why there are none."""
        self._runtime.start_threadpool_executor()
        try:
            init = await self._ask("worker_init_request", function_app_directory=directory)
            found = await self._ask("functions_metadata_request")
            functions = found.function_metadata_results
            if functions is None:
                raise Failed(f"there is no {os.environ['PYTHON_SCRIPT_FILE_NAME']} in {directory}")
            for function in functions:
                await self._ask("function_load_request", function_id=function.function_id)
        except Failed as failure:
            self.tell({"failed": str(failure)})
            return
        http_uri = init.capabilities.get("HttpUri")
        if http_uri is not None:
            await _listening(http_uri)
        self.tell({"functions": [_facts(each) for each in functions], "http_uri": http_uri})

    def take(self, asked: dict[str, Any]) -> None:
        """Begin an invocation."""
        task = asyncio.ensure_future(self._invoke(asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _invoke(self, asked: Mapping[str, Any]) -> None:
        try:
            done = await self._ask(
                "invocation_request",
                invocation_id=asked["id"],
                function_id=asked["function"],
                input_data=[Message(name=asked["parameter"], data=_trigger(asked))],
                trigger_metadata={},
                trace_context=Message(trace_parent="", trace_state="", attributes={}),
                retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
            )
        except Failed as failure:
            self.tell({"id": asked["id"], "failed": str(failure)})
        else:
            self.tell({"id": asked["id"], **_answer(done.return_value)})

    async def _ask(self, kind: str, **fields: Any) -> Any:
        """Hand the runtime a request of this kind; raises Failed."""
        request = Message(request=Message(**{kind: Message(capabilities={}, **fields)}))
        request.properties = PROPERTIES
        response = await getattr(self._runtime, kind)(request)
        if response.result.status != StatusResult.Success:
            exception = response.result.exception
            raise Failed(f"{exception.message}\n{exception.stack_trace}".strip())
        return response

    def tell(self, said: Mapping[str, Any]) -> None:
        """Send the host a line."""
        self._outbox.write(json.dumps(said).encode() + b"\n")
        self._outbox.flush()


def _facts(function: Any) -> dict[str, Any]:
    bindings = [json.loads(raw) for raw in function.raw_bindings]
    trigger = next((each for each in bindings if each["type"] == "httpTrigger"), None)
    return {"id": function.function_id, "name": function.name, "trigger": trigger}


def _trigger(asked: Mapping[str, Any]) -> Message:
    body = Message(bytes=base64.b64decode(asked["body"]))
    http = Message(**{**asked["http"], "body": body})
    return Message(http=http)


def _answer(returned: Any) -> dict[str, Any]:
    """What a function returned, as HTTP: an HttpResponse, text, or nothing."""
    if returned is None:  # also where the answer has left through the worker's own server
        return {"status": 204, "headers": {}, "body": ""}
    kind = returned.WhichOneof("data")
    if kind == "http":
        http = returned.http
        status, headers, content = int(http.status_code), http.headers, http.body.bytes
    else:
        status, headers = 200, {"content-type": "text/plain; charset=utf-8"}
        content = str(getattr(returned, kind)).encode()
    return {"status": status, "headers": headers, "body": base64.b64encode(content).decode()}


async def _listening(uri: str) -> None:
    """Wait until the worker's own server is there, as the runtime does not."""
    parts = urlsplit(uri)
    while True:
        try:
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def serve(inbox: BinaryIO, outbox: BinaryIO, directory: str) -> None:
    """Answer the host for as long as it is there."""
    worker = Worker(outbox)
    loop = asyncio.get_running_loop()
    # In a thread, because an app that blocks the loop must not outlive its host.
    reader = threading.Thread(target=read, args=(inbox, loop, worker), daemon=True)
    await worker.start(directory)
    reader.start()
    await asyncio.Event().wait()


def read(inbox: BinaryIO, loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """Take the host's lines; end the process when it is gone."""
    for line in inbox:
        loop.call_soon_threadsafe(worker.take, json.loads(line))
    os._exit(0)


def main() -> None:
    root, directory = sys.argv[1:]
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what functions print is log
    here = str(Path(__file__).resolve().parent)
    rest = [path for path in sys.path if os.path.abspath(path) != here]
    sys.path[:] = [*dict.fromkeys((directory, root)), *rest]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for chatty in ("azure.functions", "httpx", "uvicorn"):  # the first is the runtime's own
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(serve(inbox, outbox, directory))


if __name__ == "__main__":
    main()
