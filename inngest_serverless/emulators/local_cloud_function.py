"""A Google Cloud function on this machine: one process of functions-framework, the real server.

Everything between the HTTP request and the user's handler is what runs on Cloud Run: gunicorn, its
threads or its ASGI worker, Flask or Starlette. Not imitated: Google's front end (TLS, the time
limit, the name that it takes off a path, IAM), more than one instance, throttled CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

BOOTSTRAP = Path(__file__).with_name("cloud_function_bootstrap.py")
ENTRY_POINT = Path(__file__).with_name("entry_points") / "inngest_on_google.py"
READ_SIZE = 64 * 1024
LAST_WORDS = 1.0
"""Seconds that output may still come after the process has ended, if a child of it holds on."""
# What would have functions-framework, or this package, take the process for something else.
FOREIGN = ("ENTRY_POINT", "FUNCTION_SOURCE", "FUNCTION_USE_ASGI", "NOTIFY_SOCKET")


class FunctionNotStarted(Exception):
    """The process ended before it could answer. The message is what it printed."""


@dataclass(frozen=True)
class CloudFunctionConfig:
    """Settings of a local function.

    `source` is the file that functions-framework loads (default: one with our `handler` and
    `async_handler`), `target` the function in it. `environment` is added to the caller's own, which
    the process inherits. `directory` (default: the working directory) is where the process works,
    and first on its sys.path. `service` is the function's name.
    """

    source: Path = ENTRY_POINT
    target: str = "handler"
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    service: str = "local"

    @property
    def root(self) -> Path:
        return (self.directory or Path.cwd()).resolve()

    def process_environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return all environment variables of the process.

        The names are those of https://cloud.google.com/run/docs/container-contract#env-vars and of
        functions-framework; `environment` may replace any.
        """
        kept = {name: value for name, value in inherited.items() if name not in FOREIGN}
        told = {
            "K_SERVICE": self.service,
            "K_REVISION": f"{self.service}-00001-local",
            "K_CONFIGURATION": self.service,
            "FUNCTION_TARGET": self.target,
            "FUNCTION_SIGNATURE_TYPE": "http",
            "PYTHONUNBUFFERED": "1",
            # Elsewhere, K_SERVICE means that strangers may call, and dev mode is refused.
            "INNGEST_ALLOW_DEV": "1",
        }
        return {**kept, **told, **self.environment}


class LocalCloudFunction:
    """A function that answers at `url` for as long as the `async with` block runs.

        async with LocalCloudFunction(CloudFunctionConfig(target="handler")) as function:
            await httpx.AsyncClient().get(function.url)

    `on_log` gets each line that the process prints; by default it goes to stderr, after the
    function's name. The process ends with the block, and with this process even if it is killed.
    """

    def __init__(
        self,
        config: CloudFunctionConfig,
        *,
        port: int = 0,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self._port = port
        self._log = on_log or self._log_to_stderr
        self._started = False
        self._said: list[str] = []  # before it had started
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalCloudFunction:
        """Start the process and wait until it answers.

        Raises FunctionNotStarted when the source cannot be loaded or the port is taken, and
        NotADirectoryError.
        """
        if missing := missing_parts():
            raise RuntimeError(missing)
        if not self.config.root.is_dir():
            raise NotADirectoryError(f"{self.config.root} is not a directory")
        is_ready = False
        try:
            is_ready = await self._is_ready(await self._spawn())
        finally:
            if not is_ready:
                await self._stop()
        if not is_ready:
            raise FunctionNotStarted("\n".join(self._said).strip())
        self._started = True
        for line in self._said:
            self._log(line)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the process and what it has started, and take its last output."""
        await self._stop()

    @property
    def url(self) -> str:
        """Origin of the function, as in http://127.0.0.1:40123."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the server, which leads a group of its own."""
        assert self._process is not None, "no pid before the block"
        return self._process.pid

    async def _spawn(self) -> asyncio.StreamReader:
        """Start the process; return what it prints."""
        # A pipe of our own: with asyncio's, wait() also waits for all who hold the other end, and
        # a child that user code left behind would hide the end of the process.
        output, its_end = os.pipe()
        said = asyncio.StreamReader()
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(said), os.fdopen(output, "rb", buffering=0)
        )
        try:
            self._process = await self._execute(its_end)
        finally:
            os.close(its_end)
        return said

    async def _execute(self, output: int) -> asyncio.subprocess.Process:
        config = self.config
        arguments = (str(self._port), str(config.source.resolve()), config.target)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(BOOTSTRAP), *arguments),
            cwd=config.root,
            env=config.process_environment(os.environ),
            stdin=asyncio.subprocess.PIPE,  # it ends when this does
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal is for us, who then stop it in order
        )

    async def _is_ready(self, said: asyncio.StreamReader) -> bool:
        async for line in said:  # until the process has ended, if there is no port
            if line.strip().isdigit():
                self._port = int(line)
                self._reading = asyncio.ensure_future(self._copy_output(said))
                return await _answers(self._port)
            self._note(line)
        return False

    async def _stop(self) -> None:
        process = self._process
        if process is not None:
            if process.returncode is None:
                _kill_group(process.pid)
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=LAST_WORDS)
            self._reading.cancel()
        if self._pipe is not None:
            self._pipe.close()

    async def _copy_output(self, stream: asyncio.StreamReader) -> None:
        pending = b""
        while chunk := await stream.read(READ_SIZE):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                self._note(line)
        if pending:
            self._note(pending)

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if self._started:
            self._log(text)
        else:
            self._said.append(text)

    def _log_to_stderr(self, line: str) -> None:
        print(f"[{self.config.service}] {line}", file=sys.stderr, flush=True)


def missing_parts() -> str | None:
    """Say what this machine lacks for a local function; None if it has everything."""
    if sys.platform == "win32":
        return "the local function runs under gunicorn, which does not exist for Windows"
    if find_spec("functions_framework") is None:
        return (
            "the local function runs in Google's functions-framework, which is not installed; "
            "run: pip install 'inngest-serverless[gcp]'"
        )
    return None


async def _answers(port: int) -> bool:
    """Wait for the server's first answer; False if there will be none.

    The socket is open since the port was told, so this needs no second try: who connects waits
    until a worker takes it. functions-framework answers /robots.txt itself, in both modes.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(b"GET /robots.txt HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/")
    except OSError:
        return False


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says so of the dead
        os.killpg(pid, signal.SIGKILL)
