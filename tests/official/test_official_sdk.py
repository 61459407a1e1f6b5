"""The same functions, written with the official SDK and with ours, on our engine."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from inngest_serverless.asgi import ASGIApp, Receive, Scope, Send
from inngest_serverless.engine.clock import SystemClock
from inngest_serverless.engine.server import DevOptions, DevServer
from tests.engine.serving import PATH, serving
from tests.official import official, ours
from tests.official.apps import MakeApp, official_app, our_app, our_app_without_checkpoints
from tests.official.scenarios import SCENARIOS, End, Ends, Scenario

SIGNING_KEY = "7468697320697320612074657374206b6579"
LEAPS = 50  # more than any scenario needs ...
SECONDS = 30  # ... and so is this


class LeapingClock:
    """The machine's clock, until it is set forward."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._ahead_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._ahead_ms

    def leap(self, to_ms: int) -> None:
        self._ahead_ms += max(0, to_ms - self.now_ms())


# The official SDK offers no way to close all of its connections; the garbage collector finds them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Counted:
    """An app, and how often each function was called."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            query = dict(part.split("=") for part in scope["query_string"].decode().split("&"))
            self.calls[query["fnId"]] += 1
        await self._app(scope, receive, send)


class Stage:
    """Plays scenarios, each on an engine of its own, all on one event loop.

    A server takes its time to stop; it does so while the next scenario is played.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopping: list[asyncio.Task[None]] = []

    def play(
        self, scenario: Scenario, *apps: MakeApp, signing_key: str | None = None
    ) -> list[Ends]:
        """Play a scenario with each app at the same time; how the runs ended."""
        servers = AsyncExitStack()
        try:
            played = (_play(servers, make, scenario, signing_key) for make in apps)
            return self._loop.run_until_complete(_all(played))
        finally:
            self._stopping.append(self._loop.create_task(servers.aclose()))

    def close(self) -> None:
        for each in self._stopping:
            self._loop.run_until_complete(each)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with closing(Stage()) as stage:
        yield stage
    gc.collect()  # what the official SDK left open is warned of here, and not in other tests


async def _all(played: Iterable[Awaitable[Ends]]) -> list[Ends]:
    return await asyncio.wait_for(asyncio.gather(*played), SECONDS)


async def _play(
    servers: AsyncExitStack, make: MakeApp, scenario: Scenario, signing_key: str | None
) -> Ends:
    """Serve an app, send it what the scenario says, and see how its runs end."""
    clock = LeapingClock()
    options = DevOptions(
        port=0, discovery=False, poll_seconds=0, retry_interval_ms=50, signing_key=signing_key
    )
    server = await servers.enter_async_context(DevServer(options, clock=clock))
    app = make(
        api_base_url=server.url,
        event_api_base_url=server.url,
        event_key="test",
        is_production=signing_key is not None,
        signing_key=signing_key,
    )
    if app.connections is not None:
        servers.push_async_callback(app.connections.aclose)
    counted = Counted(app.asgi)
    origin = await servers.enter_async_context(serving(counted))
    assert await server.sync.sync(origin + PATH) is None
    for events in scenario.send:
        await app.send(events)
        await server.engine.idle()
    await leap_until_ended(server, clock, scenario.ends.runs)
    return Ends(
        {name: ends(server, name) for name in scenario.ends.runs},
        sum(counted.calls[f"shop-{name}"] for name in scenario.ends.runs),
    )


async def leap_until_ended(
    server: DevServer, clock: LeapingClock, expected: Mapping[str, Sequence[End]]
) -> None:
    """Move the clock from one due time to the next, until as many runs as expected have ended."""
    for _ in range(LEAPS):
        await server.engine.idle()
        due_ms = server.engine.next_due_ms()
        runs = {name: server.engine.runs(slug=f"shop-{name}") for name in expected}
        if due_ms is None or all(
            len(runs[name]) >= len(expected[name]) and all(run.ended_ms for run in runs[name])
            for name in expected
        ):
            return
        clock.leap(due_ms)


def ends(server: DevServer, name: str) -> list[End]:
    """How the runs of a function ended, oldest first."""
    runs = reversed(server.engine.runs(slug=f"shop-{name}"))
    return [(run.status, _told(run.status, run.output)) for run in runs]


def _told(status: str, output: Any) -> Any:
    if status != "Failed":
        return output
    return {"name": output["name"], "message": output["message"]}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_official_sdk_and_ours_end_alike_on_the_engine(
    stage: Stage, scenario: Scenario
) -> None:
    theirs, plain, checkpointed = stage.play(
        scenario, official_app, our_app_without_checkpoints, our_app
    )
    assert theirs == scenario.official_ends
    assert plain == scenario.ends
    assert checkpointed.runs == scenario.ends.runs
    assert checkpointed.calls <= scenario.ends.calls


@pytest.mark.parametrize("name", ["two-steps", "send-from-step", "on-failure", "big-state"])
def test_apps_in_production_mode_run_on_an_engine_with_their_signing_key(
    stage: Stage, name: str
) -> None:
    [scenario] = [each for each in SCENARIOS if each.name == name]
    theirs, mine = stage.play(scenario, official_app, our_app, signing_key=SIGNING_KEY)
    assert theirs.runs == mine.runs == scenario.ends.runs


def test_the_two_apps_differ_in_their_imports_alone() -> None:
    texts = [
        Path(str(module.__file__))
        .read_text(encoding="utf-8")
        .replace("inngest_serverless", "inngest")
        for module in (official, ours)
    ]
    assert texts[0] == texts[1]
