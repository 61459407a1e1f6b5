"""The worker: who works on what, how much at once, and what a restart takes up again."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from inngest_serverless.engine.clock import ManualClock, SystemClock
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.model import Call, Finished, Reply
from inngest_serverless.engine.store import StoreInUse
from tests.engine.scripted import Flow, Scripted, gather, run, sleep


def body(_: dict[str, Any]) -> Flow:
    yield gather(*(run(f"s{n}") for n in range(5)))
    yield sleep("nap", "1h")
    return "done"


APP = Scripted().add("f", body)


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_calls_are_in_flight_than_allowed(limit: int) -> None:
    flying, most = 0, 0

    async def caller(call: Call) -> Reply:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0)
        flying -= 1
        return await APP(call)

    async def main() -> None:
        clock = ManualClock()
        async with Engine(caller, EngineOptions(concurrency=limit), clock) as engine:
            APP.register(engine)
            events = [engine.new_event(name="test/f", data={}) for _ in range(4)]
            engine.ingest(events)
            await engine.idle()
            clock.advance(3_600_000)
            await engine.idle()
            assert [row.output for row in engine.runs()] == ["done"] * 4

    asyncio.run(main())
    assert most == limit


def test_a_call_cut_off_by_a_stop_is_made_again_and_nothing_else(tmp_path: Path) -> None:
    app, held = Scripted().add("f", body), asyncio.Event()
    options, clock = EngineOptions(db=tmp_path / "engine.db"), ManualClock()

    async def stubborn(call: Call) -> Reply:
        if len(app.calls) == 3:
            await held.wait()
        return await app(call)

    async def main() -> None:
        async with Engine(stubborn, options, clock) as engine:
            app.register(engine)
            engine.ingest([engine.new_event(name="test/f", data={})])
            while len(app.calls) < 3 or app.ran != ["s0", "s1"]:
                await asyncio.sleep(0)
        async with Engine(app, options, clock) as engine:
            await engine.idle()
            clock.advance(3_600_000)
            await engine.idle()
            assert [row.output for row in engine.runs()] == ["done"]
        assert sorted(app.ran) == ["s0", "s1", "s2", "s3", "s4"]

    asyncio.run(main())


def test_a_file_has_one_engine_at_a_time(tmp_path: Path) -> None:
    options = EngineOptions(db=tmp_path / "engine.db")

    async def main() -> None:
        async with Engine(APP, options, ManualClock()):
            with pytest.raises(StoreInUse, match=r"another engine works on .*engine\.db"):
                async with Engine(APP, options, ManualClock()):
                    pass
        async with Engine(APP, options, ManualClock()) as engine:
            assert engine.runs() == []

    asyncio.run(main())


def test_sleeps_waits_and_retries_go_on_after_a_restart(tmp_path: Path) -> None:
    options, clock = EngineOptions(db=tmp_path / "engine.db"), ManualClock()

    async def main() -> None:
        async with Engine(APP, options, clock) as engine:
            APP.register(engine)
            engine.ingest([engine.new_event(name="test/f", data={})])
            await engine.idle()
            due = engine.next_due_ms()
        async with Engine(APP, options, clock) as engine:
            assert engine.next_due_ms() == due
            clock.advance(3_600_000)
            await engine.idle()
            assert engine.runs()[0].status == "Completed"

    asyncio.run(main())


def test_real_time_wakes_the_worker_by_itself() -> None:
    def nap(_: dict[str, Any]) -> Flow:
        yield sleep("nap", "20ms")
        return "woke"

    async def main() -> None:
        app = Scripted().add("f", nap)
        ended = asyncio.Event()

        async def caller(call: Call) -> Reply:
            reply = await app(call)
            if isinstance(reply, Finished):
                ended.set()
            return reply

        async with Engine(caller, clock=SystemClock()) as engine:
            app.register(engine)
            engine.ingest([engine.new_event(name="test/f", data={})])
            await asyncio.wait_for(ended.wait(), 10)
            await engine.idle()
            assert engine.runs()[0].output == "woke"

    asyncio.run(main())


def test_a_reply_that_cannot_be_kept_fails_its_run_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def caller(call: Call) -> Reply:
        bad = call.events[0].data["bad"]
        return Finished("\ud800" if bad else "fine")

    async def main() -> None:
        async with Engine(caller, clock=ManualClock()) as engine:
            Scripted().add("f", body).register(engine)
            events = [engine.new_event(name="test/f", data={"bad": bad}) for bad in (1, 0)]
            engine.ingest(events)
            await engine.idle()
            statuses = [engine.runs_of_event(event.internal_id)[0].status for event in events]
            assert statuses == ["Failed", "Completed"]

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(main())


def test_an_event_that_cannot_be_kept_is_refused_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with Engine(APP, EngineOptions(db=tmp_path / "e.db"), ManualClock()) as engine:
            APP.register(engine)
            good = engine.new_event(name="test/f", data={})
            bad = engine.new_event(name="test/f", data={"x": "\ud800"})
            with pytest.raises((UnicodeEncodeError, sqlite3.Error)):
                engine.ingest([good, bad])
            assert (engine.events(), engine.runs()) == ([], [])
            engine.ingest([good])
            await engine.idle()
            assert len(engine.runs()) == 1

    asyncio.run(main())
