"""A Lambda function on this machine: a pool of real runtime processes behind a Function URL.

Everything between the HTTP request and the user's handler is what runs on Lambda: payload 2.0, the
Runtime API, AWS's runtime client, processes that start cold and are used again, killed at their
timeout. Not imitated: freezing between invocations, memory limits, IAM.

A result that the runtime posts in chunks is passed on as it comes, as by a Function URL whose
invoke mode is RESPONSE_STREAM; any other is read as by one whose mode is BUFFERED.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timezone
from importlib.util import find_spec
from types import TracebackType
from typing import Any
from uuid import uuid4

from inngest_serverless.emulators.function_url import (
    END_OF_PRELUDE,
    HTTP_INTEGRATION,
    Arrival,
    MalformedResponse,
    event_from,
    head_from,
    response_from,
)
from inngest_serverless.emulators.http_server import (
    Answer,
    BrokenOff,
    HttpRequest,
    HttpResponse,
    HttpServer,
    HttpStream,
)
from inngest_serverless.emulators.lambda_config import LambdaConfig
from inngest_serverless.emulators.runtime_api import (
    PAYLOAD_LIMIT,
    FunctionFailed,
    Invocation,
    ResultStream,
    RuntimeGone,
)
from inngest_serverless.emulators.runtime_process import RuntimeProcess

__all__ = ["FunctionFailed", "LambdaConfig", "LocalLambda", "RequestTooLarge", "TooManyRequests"]


class RequestTooLarge(Exception):
    """The event is larger than Lambda's 6 MB of JSON: the caller's fault, status 413."""


class TooManyRequests(Exception):
    """All processes were busy for longer than `queue_timeout`; call again later, status 429."""


class LocalLambda:
    """A function that answers at `url` for as long as the `async with` block runs.

        async with LocalLambda(LambdaConfig(handler="orders.handler")) as function:
            await httpx.AsyncClient().get(function.url)

    Processes start when requests need them. They end with the block, and on Linux with this
    process even if it is killed; elsewhere an orphan ends when it next calls the Runtime API.
    `on_log` gets each line that the processes print and what Lambda itself would log; by default
    it goes to stderr, after the function's name.
    """

    def __init__(
        self,
        config: LambdaConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.cold_starts: int = 0
        self._host, self._port = host, port
        self._log = on_log or self._log_to_stderr
        self._front_door = HttpServer(self._answer)
        self._places = asyncio.Semaphore(config.max_concurrency)
        self._processes: set[RuntimeProcess] = set()
        self._warm: list[RuntimeProcess] = []
        self._runs: set[asyncio.Task[bytes]] = set()
        self._closed = False

    async def __aenter__(self) -> LocalLambda:
        """Open the Function URL. Raises OSError when the port is taken or `directory` missing."""
        if find_spec("awslambdaric") is None:
            raise RuntimeError(
                "the local Lambda runs AWS's runtime client, awslambdaric, which is not installed; "
                "run: pip install 'inngest-serverless[dev]'"
            )
        if not self.config.task_root.is_dir():
            raise NotADirectoryError(f"the task root {self.config.task_root} is not a directory")
        await self._front_door.open(self._host, self._port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Refuse new requests, fail those in progress, end every process and wait for its end."""
        self._closed = True
        await self._front_door.close()
        self._warm.clear()
        await asyncio.gather(*(process.stop() for process in self._processes))
        self._processes.clear()
        await asyncio.gather(*self._runs, return_exceptions=True)

    @property
    def url(self) -> str:
        """Origin of the Function URL, as in http://127.0.0.1:40123."""
        return f"http://{self._front_door.address}"

    @property
    def pids(self) -> list[int]:
        """Process ids of the runtimes alive now."""
        return sorted(process.pid for process in self._processes if process.alive)

    async def invoke(self, event: Mapping[str, Any]) -> Any:
        """Invoke the function with `event`, past the Function URL, and return its result.

        Raises FunctionFailed, RequestTooLarge, TooManyRequests, and MalformedResponse for a result
        in chunks, which only the Function URL passes on.
        """
        stream = ResultStream()
        result = await self._run(_dumped(event), str(uuid4()), _new_trace_id(), stream)
        if stream.begun.is_set():
            raise MalformedResponse("the handler streamed its result; ask for it at the `url`")
        return json.loads(result)

    async def _answer(self, request: HttpRequest) -> Answer:
        arrival = Arrival(
            request_id=str(uuid4()),
            trace_id=_new_trace_id(),
            at=datetime.now(timezone.utc),
            authority=self._front_door.address,
        )
        event = _dumped(event_from(request, arrival))
        stream = ResultStream()
        run = self._start(event, arrival, stream)
        begun = asyncio.ensure_future(stream.begun.wait())
        try:
            await asyncio.wait({run, begun}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()
        response = await self._respond(run, stream, arrival)
        identified = (*response.headers, ("x-amzn-requestid", arrival.request_id))
        return replace(response, headers=identified)

    def _start(self, event: bytes, arrival: Arrival, stream: ResultStream) -> asyncio.Task[bytes]:
        """Run in a task of its own: it goes on when the client has hung up on a stream."""

        async def run() -> bytes:
            try:
                return await self._run(event, arrival.request_id, arrival.trace_id, stream)
            finally:
                stream.end()

        task = asyncio.ensure_future(run())
        self._runs.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, run: asyncio.Task[bytes]) -> None:
        self._runs.discard(run)
        if not run.cancelled():
            run.exception()  # of a run that nobody waits for any more; the log has it

    async def _respond(
        self, run: asyncio.Task[bytes], stream: ResultStream, arrival: Arrival
    ) -> Answer:
        """Run and translate. A failure is told in the log only: the caller may be anyone."""
        try:
            if stream.begun.is_set():
                return await _streamed(run, stream)
            return response_from(await run)
        except RequestTooLarge as error:
            return _message(413, str(error))
        except TooManyRequests:
            return _message(429, "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded")
        except FunctionFailed:
            return _message(502, "Internal Server Error")
        except MalformedResponse as error:
            self._log(f"RequestId: {arrival.request_id} Error: {error}")
            return _message(502, "Internal Server Error")

    async def _run(
        self, event: bytes, request_id: str, trace_id: str, stream: ResultStream
    ) -> bytes:
        if len(event) > PAYLOAD_LIMIT:
            raise RequestTooLarge(
                f"the event has {len(event)} bytes of JSON; Lambda takes at most {PAYLOAD_LIMIT}"
            )
        async with self._place():
            while True:
                process = await self._take_warm() or self._new_process()
                try:
                    await process.start()
                    invocation = self._invocation(event, request_id, trace_id)
                    return await process.invoke(invocation, stream)
                except RuntimeGone:
                    continue  # it had not begun, so another process may
                finally:
                    await self._give_back(process)

    def _invocation(self, event: bytes, request_id: str, trace_id: str) -> Invocation:
        return Invocation(
            request_id=request_id,
            event=event,
            deadline_ms=int((time.time() + self.config.timeout) * 1000),
            function_arn=self.config.function_arn(os.environ),
            trace_id=trace_id,
        )

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Hold one of the `max_concurrency` places, first come, first served."""
        if self._places.locked():
            await self._wait_for_place()
        else:  # no clock here: a queue_timeout of 0 would run out before a free place is had
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    async def _wait_for_place(self) -> None:
        try:
            await asyncio.wait_for(self._places.acquire(), self.config.queue_timeout)
        except asyncio.TimeoutError:
            raise TooManyRequests(
                f"all {self.config.max_concurrency} processes were busy for "
                f"{self.config.queue_timeout:g} s; raise max_concurrency or queue_timeout"
            ) from None

    async def _take_warm(self) -> RuntimeProcess | None:
        """Take the process used last, but rather one that already waits for work."""
        while self._warm:
            idle = (process for process in reversed(self._warm) if process.idle)
            chosen = next(idle, self._warm[-1])
            self._warm.remove(chosen)
            if chosen.usable:
                return chosen
            await self._discard(chosen)
        return None

    def _new_process(self) -> RuntimeProcess:
        if self._closed:  # a direct invocation that was waiting for its turn
            raise FunctionFailed("Sandbox.Stopped", "the local Lambda has been closed")
        process = RuntimeProcess(self.config, self._log)
        self._processes.add(process)
        self.cold_starts += 1
        return process

    async def _give_back(self, process: RuntimeProcess) -> None:
        if process.usable:
            self._warm.append(process)
        else:
            await self._discard(process)

    async def _discard(self, process: RuntimeProcess) -> None:
        await process.stop()
        self._processes.discard(process)

    def _log_to_stderr(self, line: str) -> None:
        print(f"[{self.config.function_name}] {line}", file=sys.stderr, flush=True)


async def _streamed(run: asyncio.Task[bytes], stream: ResultStream) -> HttpStream:
    """The answer that a result in chunks stands for, as soon as its head is there.

    Raises FunctionFailed and MalformedResponse.
    """
    chunks = stream.chunks()
    if stream.content_type != HTTP_INTEGRATION:
        return HttpStream(200, (("content-type", stream.content_type),), _rest(run, b"", chunks))
    prelude = b""
    async for chunk in chunks:
        prelude, end, body = (prelude + chunk).partition(END_OF_PRELUDE)
        if end:
            head = head_from(prelude)
            return HttpStream(head.status, head.headers, _rest(run, body, chunks))
    await run  # raises, if that is why there is no more
    raise MalformedResponse("the streamed result ended before its prelude did")


async def _rest(
    run: asyncio.Task[bytes], first: bytes, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for chunk in chunks:
        yield chunk
    try:
        await asyncio.shield(run)
    except FunctionFailed as error:
        raise BrokenOff(str(error)) from error


def _dumped(event: Mapping[str, Any]) -> bytes:
    # As Lambda counts it: UTF-8 without escapes or blanks.
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _message(status: int, message: str, **more: str) -> HttpResponse:
    body = json.dumps({**more, "Message": message}).encode()
    return HttpResponse(status, (("content-type", "application/json"),), body)


def _new_trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{uuid4().hex[:24]};Sampled=0"
