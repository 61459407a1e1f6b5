"""One operating system process with AWS's runtime client in it, and its Runtime API.

Knows how to start, use and end one; which of several to use is the pool's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from inngest_serverless.emulators.lambda_config import LambdaConfig
from inngest_serverless.emulators.runtime_api import (
    FunctionFailed,
    Invocation,
    ResultStream,
    RuntimeApi,
    RuntimeGone,
)

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
READ_SIZE = 64 * 1024
LAST_WORDS = 1.0
"""Seconds that output may still come after a process has ended, if a child of its own holds on."""


class RuntimeProcess:
    """A runtime that serves one invocation at a time until it fails or is stopped."""

    def __init__(self, config: LambdaConfig, log: Callable[[str], None]) -> None:
        self._config, self._log = config, log
        self._api = RuntimeApi(log)
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "no pid before start()"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def usable(self) -> bool:
        """May be given another invocation, at once or when it next asks."""
        return self.alive and self._api.end is None

    @property
    def idle(self) -> bool:
        return self.alive and self._api.idle

    async def start(self) -> None:
        """Start the process and wait until its handler is imported and it asks for work.

        A process that was started before is left as it is. Raises FunctionFailed when the new one
        reports an error, exits, or takes over `init_timeout`.
        """
        if self._process is not None:
            return
        await self._api.open("127.0.0.1")
        await self._spawn()
        try:
            await asyncio.wait_for(self._api.wait_idle(), self._config.init_timeout)
        except asyncio.TimeoutError:
            message = f"Init timed out after {self._config.init_timeout:.2f} seconds"
            self._log(f"{message}: importing {self._config.handler}")
            raise self._end("Sandbox.Timedout", message) from None
        except RuntimeGone as gone:
            raise self._api.end or FunctionFailed("Runtime.ExitError", str(gone)) from None

    async def _spawn(self) -> None:
        # A pipe of our own: with asyncio's, wait() also waits for all who hold the other end, and
        # a child that the handler left behind would hide the end of the process.
        output, its_end = os.pipe()
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, output)
            try:
                self._process = await self._execute(its_end)
            finally:
                os.close(its_end)
            undo.pop_all()
        self._watch = asyncio.ensure_future(self._watch_process(self._process, output))

    async def _execute(self, output: int) -> asyncio.subprocess.Process:
        environment = self._config.process_environment(
            self._api.address, f"local/[$LATEST]{uuid4().hex}", os.environ
        )
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(BOOTSTRAP), str(os.getpid())),
            env=environment,
            cwd=self._config.task_root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A group of its own: Ctrl-C in the terminal reaches the parent alone, which then ends
            # its processes in order; and what a handler starts is ended along with it.
            start_new_session=True,
        )

    async def invoke(self, invocation: Invocation, stream: ResultStream) -> bytes:
        """Return the handler's result, JSON as it was posted; see `RuntimeApi.invoke`.

        Raises FunctionFailed, after which a process that timed out or crashed is not `usable`;
        RuntimeGone when the process ended, or did not ask for work in time, before it began.
        """
        try:
            await asyncio.wait_for(self._api.wait_idle(), self._config.timeout)
        except asyncio.TimeoutError:
            late = self._end("Sandbox.Timedout", f"process {self.pid} asked for no more work")
            self._log(f"{late.message} in {self._config.timeout:.2f} seconds after its answer")
            raise RuntimeGone(str(late)) from None
        try:
            return await asyncio.wait_for(
                self._api.invoke(invocation, stream), self._config.timeout
            )
        except asyncio.TimeoutError:
            message = f"Task timed out after {self._config.timeout:.2f} seconds"
            self._log(f"RequestId: {invocation.request_id} {message}")
            raise self._end("Sandbox.Timedout", message) from None
        except asyncio.CancelledError:
            self._end("Sandbox.Cancelled", "the caller gave up; the process may still be at work")
            raise

    def _end(self, error_type: str, message: str) -> FunctionFailed:
        """Give the process up: it is handed nothing more, and whoever holds it stops it."""
        failure = FunctionFailed(error_type, message)
        self._api.finish(failure)
        return failure

    async def stop(self) -> None:
        """Kill the process if need be, reap it, take its last output and free its socket."""
        self._end("Sandbox.Stopped", "the process was stopped")  # also if it is being spawned now
        if self._process is not None and self._process.returncode is None:
            _kill_group(self._process.pid)
        if self._watch is not None:
            await asyncio.wait({self._watch})
        await self._api.close()

    async def _watch_process(self, process: asyncio.subprocess.Process, pipe: int) -> None:
        output = asyncio.ensure_future(self._copy_output(pipe))
        code = await process.wait()
        _kill_group(process.pid)
        # First the log, then the news: whoever reads the answer finds the reason already there.
        await asyncio.wait({output}, timeout=LAST_WORDS)
        output.cancel()
        if self._api.end is None:
            self._log(f"Runtime exited with error: {_status(code)}")
        self._end("Runtime.ExitError", f"Runtime exited with error: {_status(code)}")
        await self._api.close()

    async def _copy_output(self, pipe: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(pipe, "rb", buffering=0)
        )
        pending = b""
        with contextlib.closing(transport):
            while chunk := await stream.read(READ_SIZE):
                *entries, pending = (pending + chunk).split(b"\n")
                self._log_lines(entries)
        self._log_lines([pending] if pending else [])

    def _log_lines(self, entries: list[bytes]) -> None:
        for entry in entries:
            for line in _lines(entry):
                self._log(line)


def _kill_group(pid: int) -> None:
    """Kill a process that leads a group, and what it has started or left behind.

    With SIGKILL at once, as Lambda does where no extension is registered.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says so of the dead
        os.killpg(pid, signal.SIGKILL)


def _lines(entry: bytes) -> list[str]:
    # The runtime client joins the lines of a traceback by \r and indents them by no-break spaces,
    # so that CloudWatch keeps them in one entry; a terminal would overprint them.
    return entry.decode("utf-8", "replace").rstrip("\r").replace("\u00a0", " ").split("\r")


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
