"""`inngest-serverless dev`: the engine, and an app beside it, until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from inngest_serverless.cli.api import DEFAULT_URL, ENDED, http_url
from inngest_serverless.cli.local_app import CALL_SECONDS, Wanted, check_app, engine_and_app
from inngest_serverless.cli.problems import Problem, WrongUse
from inngest_serverless.cli.seconds import seconds, some_seconds
from inngest_serverless.cli.show import MARKS, STYLES, clock, console, outcome, took
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.model import EventTrigger, FunctionConfig, RunRow, TimelineRow
from inngest_serverless.engine.server import DevOptions, DevServer, PortInUse
from inngest_serverless.engine.store import StoreInUse, StoreTrouble

LOOK_SECONDS = 0.25
LOOK_BACK = 200
LOOK_INTO = 20
NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM)
"""What the system says of an address or a port that is not this user's to listen on."""


@click.command("dev")
@click.option(
    "--app", metavar="MODULE:ATTR", help="Run this app too, as in orders.functions:client."
)
@click.option(
    "--platform",
    type=click.Choice(["aws", "gcp", "azure", "asgi"]),
    default="aws",
    show_default=True,
    help="Where the app runs: the local Lambda, functions-framework, Azure's runtime, or uvicorn.",
)
@click.option("--url", "urls", metavar="URL", multiple=True, help="An app that runs already.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8288, show_default=True, help="0: a free one."
)
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".inngest/dev.db"),
    show_default=True,
    help="File that keeps events and runs.",
)
@click.option("--no-discovery", is_flag=True, help="Do not look for apps on the usual ports.")
@click.option(
    "--timeout",
    type=float,
    callback=some_seconds,
    metavar="SECONDS",
    help=f"How long a call to the local Lambda may take.  [default: {CALL_SECONDS:g}]",
)
@click.option(
    "--retry-interval",
    type=float,
    callback=seconds,
    metavar="SECONDS",
    help="Retry after this long, not after 15 s, 30 s, 1 min, ...",
)
def dev_command(
    app: str | None,
    platform: str,
    urls: tuple[str, ...],
    host: str,
    port: int,
    db: Path,
    no_discovery: bool,
    timeout: float | None,
    retry_interval: float | None,
) -> None:
    """Run the engine on this machine, and an app if you name one. Ctrl-C stops both.

    \b
    inngest-serverless dev --app orders.functions:client
    inngest-serverless dev --url http://127.0.0.1:8000/api/inngest
    """
    for url in urls:
        http_url(url)
    if timeout is not None and (app is None or platform != "aws"):
        raise WrongUse("--timeout is the local Lambda's: it goes with --app and --platform aws")
    wanted = None if app is None else Wanted(platform, app, Path.cwd(), timeout or CALL_SECONDS)
    options = DevOptions(
        host=host,
        port=port,
        db=db,
        urls=urls,
        discovery=not (no_discovery or app or urls),
        # An app beside the engine does not change while it runs; others may.
        poll_seconds=0 if app and not urls else 5.0,
        retry_interval_ms=None if retry_interval is None else round(retry_interval * 1000),
    )
    terminal = console()
    with suppress(KeyboardInterrupt), complaints(options):  # Ctrl-C before `serve` listens for it
        if wanted is not None:
            say(terminal, "loading", wanted.app)
            check_app(platform, wanted.app, wanted.directory)
        asyncio.run(serve(options, wanted, terminal))
    terminal.print("stopped")


@contextmanager
def complaints(options: DevOptions) -> Iterator[None]:
    """Turn what the system says about a file or a port into a Problem."""
    db = Path(options.db)
    try:
        yield
    except PortInUse as error:
        raise Problem(str(error), f"For example: --port {error.port + 10}") from None
    except StoreInUse as error:
        raise Problem(str(error), "Or give this engine a file of its own: --db FILE") from None
    except (sqlite3.Error, StoreTrouble) as error:
        raise _file_problem(db, error) from None
    except OSError as error:
        if error.filename is not None:
            ours = Path(error.filename) in (db, *db.parents)
            raise (_file_problem(db, error) if ours else Problem(str(error))) from None
        if isinstance(error, socket.gaierror) or error.errno in NOT_OURS:
            where = f"port {options.port} on {options.host}"
            hint = "Choose an address of this machine with --host, or a port with --port"
            raise Problem(f"cannot listen on {where}: {error.strerror}", hint) from None
        raise Problem(str(error)) from None


def _file_problem(db: Path, error: Exception) -> Problem:
    return Problem(f"cannot keep runs in {db}: {error}", "Choose a file with --db")


async def serve(options: DevOptions, wanted: Wanted | None, terminal: Console) -> None:
    """Run everything until the process is told to stop."""
    stopped = stop_requested()
    log = Log(terminal)
    async with engine_and_app(options, wanted, log.function, log.sync) as (server, url):
        if url is not None and (error := await server.sync.sync(url)):
            raise Problem(f"the app cannot be registered: {error}")
        announce(terminal, server, url, options)
        watching = asyncio.create_task(log.runs(server.engine))
        watching.add_done_callback(log_ended)
        await stopped.wait()
        watching.cancel()


def log_ended(watching: asyncio.Task[None]) -> None:
    """Say so if the log broke off. What it tells of goes on."""
    if not watching.cancelled() and (error := watching.exception()) is not None:
        click.echo(f"the log of runs broke off: {type(error).__name__}: {error}", err=True)
        click.echo("The engine works on. See its runs with: inngest-serverless runs", err=True)


def stop_requested() -> asyncio.Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: there, Ctrl-C raises KeyboardInterrupt
            loop.add_signal_handler(number, stopped.set)
    return stopped


def say(terminal: Console, head: str, text: str, style: str = "") -> None:
    """Print what something is, and which."""
    terminal.print(Text.assemble((f"{head:10} ", "bold"), (text, style)), soft_wrap=True)


def announce(terminal: Console, server: DevServer, url: str | None, options: DevOptions) -> None:
    """Print what runs where, and what of it this engine does not do."""

    def line(head: str, text: str, style: str = "") -> None:
        say(terminal, head, text, style)

    line("engine", f"{server.url}   (events and runs: {options.db})")
    for each in [url] if url else options.urls:
        line("app", each)
    for function in server.engine.functions():
        line("function", f"{function.slug}   {triggers(function)}")
        for option in server.engine.unsupported(function):
            line("", f"not applied by this engine: {option}", "yellow")
    if options.discovery and not server.engine.functions():
        line("", "no app yet: looking for one on the usual ports of this machine")
    where = "" if server.url == DEFAULT_URL else f" --url {server.url}"
    line("", f"inngest-serverless send NAME{where}   Ctrl-C stops everything\n", "dim")


def triggers(function: FunctionConfig) -> str:
    """Return what starts a function, for a reader."""
    return ", ".join(
        each.event if isinstance(each, EventTrigger) else each.cron for each in function.triggers
    )


class Log:
    """The lines below the announcement: runs as they start and end, and what functions print."""

    def __init__(self, terminal: Console) -> None:
        self._terminal = terminal
        self._statuses: dict[str, str] = {}
        self._retries: set[tuple[str, str, int]] = set()

    def function(self, line: str) -> None:
        """Print a line of the app's own log."""
        self._terminal.print(Text(f"              │ {line}", style="dim"), soft_wrap=True)

    def sync(self, url: str, error: str | None) -> None:
        """Print that an app is registered now, or why it is not."""
        said = Text(f"registered {url}") if error is None else Text(f"{url}: {error}", "yellow")
        self._line(said)

    async def runs(self, engine: Engine) -> None:
        """Print a line when a run starts and when it ends, until cancelled."""
        self._statuses = {run.run_id: run.status for run in engine.runs(limit=LOOK_BACK)}
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            newest = engine.runs(limit=LOOK_BACK)
            for run in reversed(newest):
                self._run(run)
            running = [run for run in newest if run.status == "Running"]
            for run in running[:LOOK_INTO]:
                self._retries_of(run, engine.timeline(run.run_id))

    def _run(self, run: RunRow) -> None:
        before = self._statuses.get(run.run_id)
        if run.status == before:
            return
        self._statuses[run.run_id] = run.status
        if before is None and run.status in ENDED:
            self._run_line(run, "Running")
        self._run_line(run, run.status)

    def _retries_of(self, run: RunRow, timeline: list[TimelineRow]) -> None:
        for row in timeline:
            retry = (run.run_id, row.step_id, row.attempt)
            if row.status == "Retrying" and retry not in self._retries:
                self._retries.add(retry)
                error = row.error or {}
                said = f"{row.name}: {error.get('name')}: {error.get('message')}"
                again = f"  try {row.attempt + 1} at {clock(row.detail['until'])}"
                self._line(Text(f"↻ {run.slug}  {run.run_id}  {said}{again}", "yellow"))

    def _run_line(self, run: RunRow, status: str) -> None:
        line = Text(f"{MARKS[status]} ", STYLES[status]) + Text(run.slug) + Text(f"  {run.run_id}")
        if status in ENDED:
            spent = took(run.queued_ms, run.ended_ms)
            line += Text(f"  {status} in {spent}  ", STYLES[status]) + Text(outcome(asdict(run)))
        self._line(line)

    def _line(self, text: Text) -> None:
        at = Text(f"{datetime.now():%H:%M:%S}  ", "dim")
        self._terminal.print(at + text, soft_wrap=True)
