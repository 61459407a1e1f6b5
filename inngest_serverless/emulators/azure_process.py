"""One operating system process with Microsoft's Python runtime in it, and the lines to and from it.

Knows how to start, use and end one; see `azure_worker` for what runs there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("azure_worker.py")
# A body travels in one line, in base64: 100 MB, the most that Azure takes, make 134.
LINE_LIMIT = 160 * 1024 * 1024


class WorkerFailed(Exception):
    """The app could not be loaded, or a function raised; the text says what."""


class WorkerGone(Exception):
    """The worker's process has ended, with whatever it was working on."""


@dataclass(frozen=True)
class HttpFunction:
    """A function with an HTTP trigger: `parameter` is what its request is called there. Without
    `methods` it takes all."""

    id: str
    name: str
    route: str
    methods: frozenset[str]
    parameter: str


class WorkerProcess:
    """A worker that serves any number of invocations at once, until it ends or is stopped."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._logging: asyncio.Task[None] | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._stopped = False
        self.functions: tuple[HttpFunction, ...] = ()
        self.http_uri: str | None = None
        """Where the worker's own HTTP server is, if the app has asked for one."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "no pid before start()"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._receiving is not None and not self._receiving.done()

    async def start(self, root: Path, script: Path, environment: Mapping[str, str]) -> None:
        """Start the process and load the app in it.

        `root` is its working directory. The folder of `script` and then `root` are first on its
        sys.path. Raises WorkerFailed if the app cannot be loaded.
        """
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(WORKER), str(root), str(script.parent)),
            cwd=root,
            env={**environment, "PYTHON_SCRIPT_FILE_NAME": script.name, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            # A group of its own: Ctrl-C in the terminal reaches the parent alone, which then ends
            # its worker in order; and what a function starts is ended along with it.
            start_new_session=True,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._logging = asyncio.ensure_future(self._copy_log(self._process.stderr))
        first = await self._process.stdout.readline()
        self._receiving = asyncio.ensure_future(self._receive(self._process.stdout))
        told: Any = json.loads(first or '{"failed": "its process ended while it was imported"}')
        if "failed" in told:
            await self.stop()
            raise WorkerFailed(f"the function app could not be loaded: {told['failed']}")
        triggered = (each for each in told["functions"] if each["trigger"] is not None)
        self.functions = tuple(_function(each) for each in triggered)
        self.http_uri = told["http_uri"]

    async def invoke(self, invocation_id: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the function answers: its status, headers and body.

        Raises WorkerFailed when it raised, WorkerGone when the process ended meanwhile.
        """
        assert self._process is not None and self._process.stdin is not None
        if not self.alive:
            raise WorkerGone("the worker's process has ended")
        answer = asyncio.get_running_loop().create_future()
        self._waiting[invocation_id] = answer
        try:
            self._process.stdin.write(json.dumps({"id": invocation_id, **asked}).encode() + b"\n")
            told: Mapping[str, Any] = await answer
        finally:
            self._waiting.pop(invocation_id, None)
        if "failed" in told:
            raise WorkerFailed(told["failed"])
        return told

    async def stop(self) -> None:
        """Kill the process if need be, reap it, and take its last output."""
        self._stopped = True
        if self._process is None:
            return
        if self._process.returncode is None:
            _kill_group(self._process.pid)
        await asyncio.wait([each for each in (self._receiving, self._logging) if each])
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _receive(self, lines: asyncio.StreamReader) -> None:
        assert self._process is not None
        async for line in lines:
            told = json.loads(line)
            answer = self._waiting.get(told["id"])
            if answer is not None and not answer.done():
                answer.set_result(told)
        # Only the worker itself holds the other end, not what it may have started: it has ended.
        _kill_group(self._process.pid)
        code = await self._process.wait()
        if not self._stopped:
            self._log(f"the worker's process ended with {_status(code)}")
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(WorkerGone("the worker's process ended during the call"))

    async def _copy_log(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            self._log(line.decode("utf-8", "replace").rstrip("\r\n"))


def _function(told: Mapping[str, Any]) -> HttpFunction:
    trigger = told["trigger"]
    return HttpFunction(
        id=told["id"],
        name=told["name"],
        route=trigger.get("route") or told["name"],
        methods=frozenset(method.upper() for method in trigger.get("methods") or ()),
        parameter=trigger["name"],
    )


def _kill_group(pid: int) -> None:
    """Kill a process that leads a group, and what it has started or left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says so of the dead
        os.killpg(pid, signal.SIGKILL)


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
