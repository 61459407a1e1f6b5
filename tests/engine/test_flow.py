"""Flow control: which events make runs, how many at once, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.flow import RateLimit, flow_of, next_allowance
from inngest_serverless.engine.model import Call, FunctionConfig, Reply
from tests.engine.scripted import (
    APP,
    Flow,
    Scripted,
    Stage,
    StepFailed,
    gather,
    invoke,
    play,
    run,
    sleep,
)


def noted(event: dict[str, Any]) -> Flow:
    return event["data"]
    yield


def outputs(stage: Stage) -> list[Any]:
    return [row.output for row in reversed(stage.engine.runs(slug="f"))]


def sizes(stage: Stage) -> list[int]:
    return [len(row.event_ids) for row in reversed(stage.engine.runs(slug="f"))]


def test_debounce_runs_once_for_the_last_event() -> None:
    async def script(stage: Stage) -> None:
        for n in range(3):
            await stage.send("test/f", data={"n": n})
            await stage.advance(4999)
        assert outputs(stage) == []
        await stage.advance(1)
        assert outputs(stage) == [{"n": 2}]
        await stage.send("test/f", data={"n": 3})
        await stage.finish()
        assert outputs(stage) == [{"n": 2}, {"n": 3}]

    play(Scripted().add("f", noted, debounce={"period": "5s"}), script)


def test_debounce_ignores_an_older_event_and_keeps_keys_apart() -> None:
    async def script(stage: Stage) -> None:
        now = stage.clock.now_ms()
        await stage.send("test/f", data={"k": "a", "n": 1}, ts=now)
        await stage.send("test/f", data={"k": "a", "n": 2}, ts=now - 1)
        await stage.send("test/f", data={"k": "b", "n": 3}, ts=now)
        await stage.finish()
        assert [data["n"] for data in outputs(stage)] == [1, 3]

    debounce = {"period": "5s", "key": "event.data.k"}
    play(Scripted().add("f", noted, debounce=debounce), script)


def test_debounce_waits_no_longer_than_its_timeout() -> None:
    async def script(stage: Stage) -> None:
        for n in range(4):
            await stage.send("test/f", data={"n": n})
            await stage.advance(3000)
        assert outputs(stage) == [{"n": 3}]

    play(Scripted().add("f", noted, debounce={"period": "5s", "timeout": "10s"}), script)


def test_a_batch_is_full_or_its_time_is_over() -> None:
    async def script(stage: Stage) -> None:
        sent = [(await stage.send("test/f", data={"n": n})).internal_id for n in range(8)]
        assert sizes(stage) == [5]
        await stage.advance(9999)
        assert sizes(stage) == [5]
        await stage.advance(1)
        assert sizes(stage) == [5, 3]
        assert [event.internal_id for call in stage.app.calls for event in call.events] == sent

    play(Scripted().add("f", noted, batchEvents={"maxSize": 5, "timeout": "10s"}), script)


def test_batches_keep_keys_apart_let_others_run_alone_and_take_an_event_once() -> None:
    async def script(stage: Stage) -> None:
        for n in range(10):
            await stage.send("test/f", id=f"e{n}", data={"n": n, "even": n % 2 == 0})
        await stage.send("test/f", id="e0", data={"n": 0, "even": True})
        await stage.finish()
        assert Counter(sizes(stage)) == {5: 1, 1: 5}

    batch = {"maxSize": 20, "timeout": "10s", "if": "event.data.even"}
    play(Scripted().add("f", noted, batchEvents=batch), script)


def test_every_caller_of_a_batched_function_gets_its_answer() -> None:
    def parent(_: dict[str, Any]) -> Flow:
        values = yield gather(invoke("x", "f", {"n": 1}), invoke("y", "f", {"n": 2}))
        return [value["n"] for value in values]

    async def script(stage: Stage) -> None:
        await stage.send("test/parent")
        assert sizes(stage) == [2]
        assert stage.run("parent").output == [1, 1]

    app = Scripted().add("parent", parent)
    play(app.add("f", noted, batchEvents={"maxSize": 2, "timeout": "10s"}), script)


def test_a_rate_limit_drops_what_is_over_it_and_keeps_keys_apart() -> None:
    async def script(stage: Stage) -> None:
        for key in ("a", "a", "b", False, False):
            await stage.send("test/f", data={"k": key})
        assert [data["k"] for data in outputs(stage)] == ["a", "b", False, False]
        await stage.advance(10_000)
        await stage.send("test/f", data={"k": "a"})
        assert len(outputs(stage)) == 5

    limit = {"limit": 1, "period": "10s", "key": "event.data.k"}
    play(Scripted().add("f", noted, rateLimit=limit), script)


def test_an_invocation_over_the_rate_limit_fails_at_once() -> None:
    def parent(_: dict[str, Any]) -> Flow:
        try:
            yield invoke("call", "f")
        except StepFailed as error:
            return str(error)

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        await stage.send("test/parent")
        assert stage.run("parent").output == "f is rate limited"

    app = Scripted().add("parent", parent)
    play(app.add("f", noted, rateLimit={"limit": 1, "period": "10s"}), script)


@pytest.mark.parametrize(
    ("throttle", "starts"),
    [
        ({"limit": 1, "period": "5s"}, [0, 5, 10, 15]),
        ({"limit": 2, "period": "5s"}, [0, 0, 2.5, 5]),
        ({"limit": 1, "period": "5s", "burst": 1}, [0, 0, 5, 10]),
        ({"limit": 1, "period": "5s", "key": "event.data.n % 2"}, [0, 0, 5, 5]),
        ({"limit": 1, "period": "5s", "key": "false"}, [0, 0, 0, 0]),
    ],
)
def test_a_throttle_delays_the_start_of_runs(throttle: dict[str, Any], starts: list[float]) -> None:
    async def script(stage: Stage) -> None:
        began = stage.clock.now_ms()
        for n in range(4):
            await stage.send("test/f", data={"n": n})
        await stage.finish()
        found = [(row.started_ms or 0) - began for row in reversed(stage.engine.runs())]
        assert [ms / 1000 for ms in found] == starts

    play(Scripted().add("f", noted, throttle=throttle), script)


def test_a_run_that_does_not_start_in_time_is_cancelled() -> None:
    async def script(stage: Stage) -> None:
        for n in range(4):
            await stage.send("test/f", data={"n": n})
        await stage.finish()
        statuses = [row.status for row in reversed(stage.engine.runs())]
        assert statuses == ["Completed", "Completed", "Cancelled", "Cancelled"]

    throttle = {"limit": 1, "period": "5s"}
    play(Scripted().add("f", noted, throttle=throttle, timeouts={"start": "6s"}), script)


def test_a_run_that_does_not_finish_in_time_is_cancelled() -> None:
    def naps(_: dict[str, Any]) -> Flow:
        yield sleep("nap", "1h")

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        await stage.advance(59_999)
        assert stage.run("f").status == "Running"
        await stage.advance(1)
        assert stage.run("f").status == "Cancelled"
        assert stage.engine.next_due_ms() is None

    play(Scripted().add("f", naps, timeouts={"start": "10s", "finish": "1m"}), script)


@pytest.mark.parametrize(
    ("limit", "times", "allowed"),
    [
        (1, [0, 5, 9, 10], [True, False, False, True]),
        (2, [0, 1, 5, 6], [True, False, True, False]),
        (10, [0, 0, 0, 1, 2], [True, True, False, True, True]),
    ],
)
def test_the_rate_is_spread_over_the_period(
    limit: int, times: list[int], allowed: list[bool]
) -> None:
    rate, used, found = RateLimit(limit, 10_000, None), 0, []
    for second in times:
        allowance = next_allowance(rate, used, second * 1000)
        used = used if allowance is None else allowance
        found.append(allowance is not None)
    assert found == allowed


def three_steps(event: dict[str, Any]) -> Flow:
    yield gather(*(run(f"s{n}") for n in range(3)))
    yield sleep("nap", "1h")
    yield run("last")
    return event["data"]


def most_at_once(concurrency: Any, datas: list[Any], slugs: str = "f") -> Counter[str]:
    """How many calls of each `who` were ever in flight together; `all` counts every one."""
    app, flying, most = Scripted(), Counter[str](), Counter[str]()
    for slug in slugs:
        app.add(slug, three_steps, event="test/f", concurrency=concurrency)

    async def caller(call: Call) -> Reply:
        names = ["all", call.function_id, str(call.events[0].data.get("who"))]
        flying.update(names)
        for name in names:
            most[name] = max(most[name], flying[name])
        for _ in range(3):
            await asyncio.sleep(0)
        flying.subtract(names)
        return await app(call)

    async def main() -> None:
        clock = ManualClock()
        async with Engine(caller, EngineOptions(), clock) as engine:
            engine.register(APP, app.functions)
            engine.ingest([engine.new_event(name="test/f", data=data) for data in datas])
            await asyncio.wait_for(engine.idle(), 10)
            clock.advance(3_600_000)
            await asyncio.wait_for(engine.idle(), 10)
            rows = engine.runs()
            assert {row.status for row in rows} == {"Completed"}
            assert len(rows) == len(datas) * len(slugs)

    asyncio.run(main())
    return most


WHO: list[Any] = [{"who": who} for who in "aaabbb"]


def test_no_more_calls_are_made_at_once_than_a_function_allows() -> None:
    assert most_at_once(2, WHO)["all"] == 2
    assert most_at_once([{"limit": 4}], WHO)["all"] == 4
    assert most_at_once({"step": [{"limit": 3}]}, WHO)["all"] == 3


def test_a_key_has_slots_of_its_own() -> None:
    most = most_at_once([{"limit": 1, "key": "event.data.who"}], WHO)
    assert (most["a"], most["b"], most["all"]) == (1, 1, 2)


def test_two_limits_both_hold() -> None:
    most = most_at_once([{"limit": 3}, {"limit": 2, "key": "event.data.who"}], WHO)
    assert (most["a"], most["b"], most["all"]) == (2, 2, 3)


def test_a_limit_of_the_environment_holds_across_functions() -> None:
    limit = {"limit": 2, "scope": "env", "key": "'shared'"}
    assert most_at_once([limit], WHO, slugs="fg")["all"] == 2
    assert most_at_once([{"limit": 2}], WHO, slugs="fg")["all"] == 4


def test_a_run_cancelled_while_it_waits_for_a_slot_blocks_nobody() -> None:
    app, gate = Scripted().add("f", noted, concurrency=1), asyncio.Event()

    async def caller(call: Call) -> Reply:
        await gate.wait()
        return await app(call)

    async def main() -> None:
        async with Engine(caller, EngineOptions(concurrency=1), ManualClock()) as engine:
            app.register(engine)
            engine.ingest([engine.new_event(name="test/f", data={"n": n}) for n in range(3)])
            for _ in range(5):
                await asyncio.sleep(0)
            engine.cancel(engine.runs()[1].run_id)
            gate.set()
            await asyncio.wait_for(engine.idle(), 10)
            statuses = [row.status for row in engine.runs()]
            assert statuses == ["Completed", "Cancelled", "Completed"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "config",
    [
        {"rateLimit": {"limit": 1}},
        {"debounce": {"period": "soon"}},
        {"batchEvents": 5},
        {"concurrency": [{"limit": "many"}]},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        flow_of(FunctionConfig("id", "app", "shop", "f", "f", "http://x", config=config))
