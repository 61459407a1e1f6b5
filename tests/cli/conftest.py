"""A running engine with a small app, for commands that ask one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from click.testing import CliRunner, Result

from inngest_serverless.cli.commands import cli
from inngest_serverless.cli.local_app import Wanted, engine_and_app, serve_app
from inngest_serverless.engine.server import DevOptions

APPS = Path(__file__).parent / "apps"
GREETER = Wanted("asgi", "greeter:client", APPS)
Invoke = Callable[..., Result]
T = TypeVar("T")


@pytest.fixture
def invoke() -> Invoke:
    """Call the command line with words; a Result comes back."""

    def call(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, words, input=stdin, prog_name="inngest-serverless")

    return call


@contextmanager
def in_background(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Hold `context` open in an event loop of another thread, so that a test may block."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(context) as value:
        yield value


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of an engine and of the app of apps/greeter.py, which is registered with it."""
    db = tmp_path_factory.mktemp("engine") / "test.db"
    options = DevOptions(port=0, db=db, discovery=False, poll_seconds=0, retry_interval_ms=100)
    with in_background(engine_and_app(options, GREETER, print)) as (server, app_url):
        assert app_url is not None
        assert CliRunner().invoke(cli, ["sync", app_url]).exit_code == 0
        yield server.url, app_url


@pytest.fixture
def engine(running: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an engine with a small app; commands find it by themselves."""
    monkeypatch.setenv("INNGEST_DEV", running[0])
    return running[0]


@pytest.fixture
def app_url(running: tuple[str, str]) -> str:
    """The URL of the small app."""
    return running[1]


@pytest.fixture
def closed() -> str:
    """A URL at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture
def lonely_app(closed: str) -> Iterator[str]:
    """The URL of an app whose engine is not there."""
    with in_background(serve_app(GREETER, closed, print)) as url:
        yield url
