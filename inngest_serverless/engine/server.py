"""The engine as a server: engine, HTTP surface and sync in the running event loop.

async with DevServer(DevOptions(urls=("http://localhost:8000/api/inngest",))) as server:
    print(server.url)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import uvicorn

from inngest_serverless.engine.api import create_api
from inngest_serverless.engine.calls import HttpCaller
from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.realtime_routes import Realtime
from inngest_serverless.engine.sync import PATHS, PORTS, Sync, SyncOptions, server_kind
from inngest_serverless.engine.transport import Transport

DEFAULT_PORT = 8288

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DevOptions:
    """What a DevServer is started with.

    `port` 0 takes any free one. `urls` are the SDK URLs of apps: asked to register until they come
    up, and again every `poll_seconds` (0: never again). Without any, `discovery` looks for one.
    `retry_interval_ms` replaces the growing waits between attempts. With a `signing_key` calls are
    signed, so that an app in production mode takes them.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    db: str | Path = ":memory:"
    urls: tuple[str, ...] = ()
    discovery: bool = True
    poll_seconds: float = 5.0
    retry_interval_ms: int | None = None
    concurrency: int = 100
    signing_key: str | None = None
    discovery_ports: tuple[int, ...] = PORTS
    discovery_paths: tuple[str, ...] = PATHS

    def __repr__(self) -> str:
        return f"DevOptions({self.host}:{self.port}, db={str(self.db)!r}, urls={self.urls})"


class PortInUse(OSError):
    """Another process listens on the port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            errno.EADDRINUSE,
            f"port {port} on {host} is already in use; stop what listens there (another dev "
            "server?), or choose another port (0 takes any free one)",
        )
        self.port = port

    def __str__(self) -> str:
        return str(self.strerror)


class DevServer:
    """A local engine behind HTTP, for as long as the `async with` lasts.

    `on_sync` hears each change of an app's state: its URL, and what is wrong, or None.
    """

    def __init__(
        self,
        options: DevOptions | None = None,
        *,
        clock: Clock | None = None,
        on_sync: Callable[[str, str | None], None] | None = None,
    ) -> None:
        self.options: DevOptions = options or DevOptions()
        self._clock = clock or SystemClock()
        self._on_sync = on_sync or _log_sync
        self._stack = AsyncExitStack()
        self._engine: Engine | None = None
        self._sync: Sync | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where the server listens, such as http://127.0.0.1:8288."""
        return self._url

    @property
    def engine(self) -> Engine:
        """The engine behind it."""
        if self._engine is None:
            raise RuntimeError("the server is not running; use it inside `async with`")
        return self._engine

    @property
    def sync(self) -> Sync:
        """What asks apps to register."""
        if self._sync is None:
            raise RuntimeError("the server is not running; use it inside `async with`")
        return self._sync

    async def __aenter__(self) -> DevServer:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In reverse: asking apps, then listening, then running, then the connections.
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        options = self.options
        listening = stack.enter_context(closing(_listening(options.host, options.port)))
        self._url = _url(options.host, listening)
        transport = await stack.enter_async_context(Transport())
        key = options.signing_key
        caller = HttpCaller(signing_key=key, clock=self._clock, transport=transport)
        engine = Engine(
            caller,
            EngineOptions(options.db, options.retry_interval_ms, options.concurrency),
            self._clock,
        )
        self._engine = await stack.enter_async_context(engine)
        self._sync = Sync(
            engine, transport.send, self._sync_options(), clock=self._clock, on_change=self._on_sync
        )
        realtime = Realtime(self._clock)
        await _serve(self._api(engine, self._sync, realtime), listening, stack)
        stack.callback(realtime.hub.close)  # or the server would wait for those who listen
        _background(self._sync.run(), stack)

    def _api(self, engine: Engine, sync: Sync, realtime: Realtime) -> uvicorn.Config:
        options = self.options
        api = create_api(
            engine,
            clock=self._clock,
            server_kind=server_kind(options.signing_key),
            start_options={
                "sdkUrls": list(options.urls),
                "autodiscover": options.discovery,
                "poll": options.poll_seconds > 0,
                "pollInterval": options.poll_seconds,
            },
            on_register=sync.registered,
            realtime=realtime,
        )
        return uvicorn.Config(
            api,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )

    def _sync_options(self) -> SyncOptions:
        options = self.options
        return SyncOptions(
            urls=options.urls,
            discovery=options.discovery,
            poll_seconds=options.poll_seconds,
            ports=options.discovery_ports,
            paths=options.discovery_paths,
            own_url=self._url,
            signing_key=options.signing_key,
        )


class _Uvicorn(uvicorn.Server):
    """Leaves signals to whoever owns the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only for sockets that
    # do; with it on, each answer on a kept connection takes 40 ms more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # A port whose last connections are dying out is free; one that is listened on is not.
            # (On Windows this option would share the port.)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)  # so that a second server fails now, and not when it serves
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from None
        raise
    return listening


def _url(host: str, listening: socket.socket) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listening.getsockname()[1]}"


async def _serve(config: uvicorn.Config, listening: socket.socket, stack: AsyncExitStack) -> None:
    server = _Uvicorn(config)
    serving = asyncio.create_task(server.serve([listening]))

    async def stop() -> None:
        server.should_exit = True
        await serving

    stack.push_async_callback(stop)
    while not server.started and not serving.done():
        await asyncio.sleep(0.001)  # uvicorn has a flag to look at, and nothing to wait for
    if serving.done():
        serving.result()


def _background(work: object, stack: AsyncExitStack) -> None:
    assert asyncio.iscoroutine(work)
    task: asyncio.Task[None] = asyncio.create_task(work)
    task.add_done_callback(_report)

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task

    stack.push_async_callback(stop)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _logger.error("apps are no longer synced: a bug in the engine", exc_info=task.exception())


def _log_sync(url: str, error: str | None) -> None:
    if error is None:
        _logger.info("synced %s", url)
    else:
        _logger.warning("%s: %s", url, error)
