"""The engine as its users see it: events in, calls out, runs that end. Time is moved by hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.model import (
    Call,
    CancelOn,
    CronTrigger,
    EventTrigger,
    Failed,
    Finished,
    Ops,
    Reply,
    RunRow,
)
from tests.engine.scripted import (
    APP,
    Boom,
    Flow,
    Scripted,
    Stage,
    StepFailed,
    fetch,
    gather,
    hashed,
    invoke,
    named,
    play,
    race,
    run,
    signal,
    sleep,
    wait,
)

DAY = 86_400_000


def test_a_function_without_steps_is_one_call() -> None:
    def body(event: dict[str, Any]) -> Flow:
        return {"hello": event["data"]["who"]}
        yield

    async def script(stage: Stage) -> None:
        event = await stage.send("test/f", data={"who": "you"})
        row = stage.run("f")
        assert (row.status, row.output) == ("Completed", {"hello": "you"})
        assert row.event_ids == (event.internal_id,)
        assert [each.run_id for each in stage.engine.runs_of_event(event.internal_id)] == [
            row.run_id
        ]
        assert stage.engine.run_events(row.run_id) == [event]
        (call,) = stage.app.calls
        assert (call.attempt, call.generation, call.max_attempts) == (0, 1, 1)
        assert (call.stack, call.current, call.steps, call.request_version) == ((), 0, {}, -1)
        assert stage.internal("finished")[0].data == {
            "_inngest": {"status": "Completed"},
            "event": event.to_json(),
            "events": [{k: v for k, v in event.to_json().items() if k != "user"}],
            "function_id": "f",
            "run_id": row.run_id,
            "result": {"hello": "you"},
        }

    play(Scripted().add("f", body), script)


def test_steps_in_a_row_grow_the_stack_by_one() -> None:
    def body(_: dict[str, Any]) -> Flow:
        one = yield run("one", lambda: 1)
        two = yield run("two", lambda: [one, 2])
        return two

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        seen = [(named(c, "one", "two"), c.current, c.request_version) for c in stage.app.calls]
        assert seen == [([], 0, -1), (["one"], 1, 2), (["one", "two"], 2, 2)]
        assert stage.run("f").output == [1, 2]
        rows = stage.engine.timeline(stage.run("f").run_id)
        assert [(row.name, row.kind, row.status, row.output) for row in rows] == [
            ("one", "StepRun", "Completed", 1),
            ("two", "StepRun", "Completed", [1, 2]),
            ("f", "Function", "Completed", [1, 2]),
        ]

    play(Scripted().add("f", body), script)


def parallel(_: dict[str, Any]) -> Flow:
    yield gather(run("a"), run("b"))
    yield run("c")
    return "done"


def test_parallel_steps_have_one_discovery_at_their_end() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        a, b = hashed("a"), hashed("b")
        seen = [
            (call.step_id, set(call.stack), call.current, call.disable_immediate_execution)
            for call in stage.app.calls
        ]
        assert seen == [
            ("step", set(), 0, False),
            (a, set(), 0, True),
            (b, set(), 0, True),
            ("step", {a, b}, 2, False),
            ("step", {a, b, hashed("c")}, 3, False),
        ]
        assert [call.request_version for call in stage.app.calls] == [-1, 2, 2, 2, 2]
        assert stage.app.ran == ["a", "b", "c"]

    play(Scripted().add("f", parallel), script)


def test_an_old_sdk_is_called_after_each_parallel_step() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.run("f").output == "done"
        assert sorted(stage.app.ran) == ["a", "b", "c"]
        assert all(call.disable_immediate_execution for call in stage.app.calls[1:])

    play(Scripted(version=0).add("f", parallel), script)


def chain(first: str, second: str) -> Flow:
    yield run(first)
    yield run(second)


def two_groups(_: dict[str, Any]) -> Flow:
    yield gather(chain("a1", "a2"), chain("b1", "b2"))
    return "done"


def two_groups_racing(_: dict[str, Any]) -> Flow:
    yield gather(chain("a1", "a2"), chain("b1", "b2"), mode="race")
    return "done"


def five_kinds(_: dict[str, Any]) -> Flow:
    steps = fetch("f"), invoke("i", "nobody"), run("r"), sleep("s", "2s"), wait("w", "x", "4s")
    yield gather(*steps)
    yield sleep("after", "1s")
    return "done"


def five_kinds_racing(_: dict[str, Any]) -> Flow:
    steps = fetch("f"), invoke("i", "nobody"), run("r"), sleep("s", "2s"), wait("w", "x", "4s")
    yield gather(*steps, mode="race")
    yield sleep("after", "1s")
    return "done"


def steps_and_a_sleep(_: dict[str, Any]) -> Flow:
    yield gather(run("a"), run("b"), sleep("s", "1s"))
    return "done"


def three_invokes(_: dict[str, Any]) -> Flow:
    yield gather(*(invoke(name, "child") for name in "abc"))
    return "done"


@pytest.mark.parametrize(
    ("body", "calls", "discoveries"),
    [
        (parallel, 5, 3),
        (two_groups, 7, 3),
        (two_groups_racing, 9, 5),
        (five_kinds, 4, 3),
        (five_kinds_racing, 8, 7),
        (steps_and_a_sleep, 4, 2),
        (three_invokes, 2, 2),
    ],
)
def test_a_section_costs_the_calls_that_a_real_server_makes(
    body: Any, calls: int, discoveries: int
) -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        await stage.finish()
        assert stage.run("f").output == "done"
        made = [call for call in stage.app.calls if call.function_id == "f-uuid"]
        assert len(made) == calls
        assert len([call for call in made if call.step_id == "step"]) == discoveries
        assert len(stage.app.ran) == len(set(stage.app.ran))

    def child(_: dict[str, Any]) -> Flow:
        return 1
        yield

    play(Scripted().add("f", body).add("child", child), script)


def test_a_race_is_discovered_after_each_completion_and_repeats_no_step() -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield race(run("a"), run("b"), run("c"))
        yield run("after")
        return "done"

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.run("f").status == "Completed"
        assert sorted(stage.app.ran) == ["a", "after", "b", "c"]
        # plan, three steps, a discovery after each, the planned step after, the end
        assert len(stage.app.calls) == 9

    play(Scripted().add("f", body), script)


def test_a_step_that_fails_is_tried_again_with_its_own_attempts() -> None:
    tries = itertools.count()

    def flaky() -> int:
        if next(tries) < 2:
            raise Boom
        return 7

    def body(_: dict[str, Any]) -> Flow:
        value = yield run("flaky", flaky)
        yield run("next")
        return value

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        waiting = stage.engine.timeline(stage.run("f").run_id)
        assert [row.status for row in waiting] == ["Failed", "Retrying"]
        await stage.finish()
        assert stage.run("f").output == 7
        seen = [(c.attempt, c.generation, len(c.stack)) for c in stage.app.calls]
        assert seen == [(0, 1, 0), (1, 2, 0), (2, 3, 0), (0, 1, 1), (0, 1, 2)]
        assert len({call.job_id for call in stage.app.calls[:3]}) == 1

    play(Scripted().add("f", body, retries=2), script)


def test_a_retry_bears_the_name_of_the_step_that_broke() -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield run("charge", broken)

    def broken() -> None:
        raise Boom

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        run_id = stage.run("f").run_id
        (_, again) = stage.engine.timeline(run_id)
        assert (again.name, again.kind, again.step_id) == ("charge", "StepRun", hashed("charge"))
        assert (again.status, again.attempt) == ("Retrying", 1)
        stage.engine.cancel(run_id)
        assert [row.name for row in stage.engine.timeline(run_id)] == ["charge", "charge"]

    play(Scripted().add("f", body, retries=2), script)


def test_a_retry_of_the_function_itself_bears_its_name() -> None:
    def body(_: dict[str, Any]) -> Flow:
        raise Boom
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        (_, again) = stage.engine.timeline(stage.run("f").run_id)
        assert (again.name, again.kind, again.status) == ("f", "Function", "Retrying")
        run_id = stage.run("f").run_id
        stage.engine.cancel(run_id)
        assert [row.name for row in stage.engine.timeline(run_id)] == ["f", "f"]

    play(Scripted().add("f", body, retries=2), script)


def test_a_step_that_broke_is_forgotten_when_the_function_itself_breaks() -> None:
    tries = itertools.count()

    def body(_: dict[str, Any]) -> Flow:
        if next(tries) == 1:
            raise Boom
        yield run("charge", broken)

    def broken() -> None:
        raise Boom

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        due = stage.engine.next_due_ms()
        assert due is not None
        await stage.advance(due - stage.clock.now_ms())
        rows = stage.engine.timeline(stage.run("f").run_id)
        assert [row.name for row in rows] == ["charge", "f", "f"]

    play(Scripted().add("f", body, retries=3), script)


def test_the_last_error_of_a_step_can_be_caught() -> None:
    def broken() -> None:
        raise Boom("no luck")

    def body(_: dict[str, Any]) -> Flow:
        try:
            yield run("broken", broken)
        except StepFailed as error:
            return f"caught {error}"

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        await stage.finish()
        assert stage.run("f").output == "caught no luck"
        assert stage.app.ran == ["broken", "broken"]
        assert stage.steps("f")[hashed("broken")]["error"]["message"] == "no luck"

    play(Scripted().add("f", body, retries=1), script)


def test_a_function_error_ends_the_run_after_its_last_attempt() -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield run("one")
        raise Boom("dead")

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        await stage.advance(14_999)
        assert len(stage.app.calls) == 2
        await stage.finish()
        row = stage.run("f")
        assert (row.status, row.output["message"]) == ("Failed", "dead")
        assert stage.app.ran == ["one"]
        assert [call.attempt for call in stage.app.calls] == [0, 0, 1, 2]
        (failed,) = stage.internal("failed")
        assert failed.id == row.run_id
        assert failed.data["error"]["error"] == "invalid status code: 500"
        assert failed.data["result"] == row.output
        assert failed.data["_inngest"] == {"status": "Failed"}

    play(Scripted().add("f", body, retries=2), script)


def test_a_final_error_is_not_tried_again() -> None:
    def body(_: dict[str, Any]) -> Flow:
        raise Boom("never", final=True)
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.run("f").status == "Failed"
        assert len(stage.app.calls) == 1

    play(Scripted().add("f", body, retries=4), script)


def test_an_app_says_when_it_wants_to_be_called_again() -> None:
    def body(event: dict[str, Any]) -> Flow:
        raise Boom("later", at=event["ts"] + 5000)
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.engine.next_due_ms() == stage.clock.now_ms() + 5000

    play(Scripted().add("f", body, retries=4), script)


def test_a_fixed_interval_replaces_the_table() -> None:
    def body(_: dict[str, Any]) -> Flow:
        raise Boom
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        for made in (1, 2, 3):
            assert len(stage.app.calls) == made
            await stage.advance(1000)
        assert stage.run("f").status == "Failed"

    play(Scripted().add("f", body, retries=2), script, retry_interval_ms=1000)


def test_the_failure_handler_runs_once_however_many_branches_fail() -> None:
    def broken() -> None:
        raise Boom

    def body(_: dict[str, Any]) -> Flow:
        results = yield gather(run("a", broken), run("b", broken))
        raise Boom(f"{len(results)} failed")

    def handler(event: dict[str, Any]) -> Flow:
        return event["data"]["error"]["message"]
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.run("f").status == "Failed"
        assert stage.run("f-failure").output == "2 failed"
        # The end of a run that handles an end is no event.
        assert len(stage.internal("finished")) == 1

    trigger = EventTrigger("inngest/function.failed", "event.data.function_id == 'f'")
    app = Scripted().add("f", body).add("f-failure", handler, triggers=[trigger])
    play(app, script)


def test_a_sleep_of_three_days_takes_no_time() -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield run("before")
        nothing = yield sleep("nap", "3d")
        return nothing

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.engine.timeline(stage.run("f").run_id)[-1].status == "Waiting"
        await stage.advance(3 * DAY - 1)
        assert stage.run("f").status == "Running"
        await stage.advance(1)
        assert stage.run("f").status == "Completed"
        assert stage.app.calls[-1].steps[hashed("nap")] is None
        nap = stage.engine.timeline(stage.run("f").run_id)[1]
        assert (nap.name, nap.kind, nap.status) == ("nap", "Sleep", "Completed")
        assert nap.ended_ms == nap.detail["until"] == nap.started_ms + 3 * DAY

    play(Scripted().add("f", body), script)


def test_a_sleep_over_a_year_fails_the_run() -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield sleep("nap", "367d")

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        assert stage.run("f").status == "Failed"
        assert stage.run("f").output["error"]["name"] == "InngestErrTimeoutTooLong"

    play(Scripted().add("f", body, retries=4), script)


def waiting(_: dict[str, Any]) -> Flow:
    found = yield wait("w", "order/paid", "1h", "event.data.id == async.data.id")
    return found


def test_a_wait_ends_with_the_event_that_satisfies_it() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("order/paid", data={"id": 1})
        await stage.send("test/f", data={"id": 1})
        await stage.send("order/paid", data={"id": 2})
        assert stage.run("f").status == "Running"
        paid = await stage.send("order/paid", data={"id": 1, "sum": 5})
        assert stage.run("f").output == paid.to_json()
        await stage.send("order/paid", data={"id": 1})
        (row, _) = stage.engine.timeline(stage.run("f").run_id)
        assert (row.kind, row.status) == ("WaitForEvent", "Completed")
        assert row.detail["found_event_id"] == paid.internal_id
        assert row.detail["expression"] == "event.data.id == async.data.id"

    play(Scripted().add("f", waiting), script)


def test_a_wait_for_nothing_ends_with_null() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f", data={"id": 1})
        await stage.advance(3_599_999)
        assert stage.run("f").status == "Running"
        await stage.advance(1)
        assert (stage.run("f").status, stage.run("f").output) == ("Completed", None)
        assert stage.engine.timeline(stage.run("f").run_id)[0].status == "TimedOut"
        assert stage.engine.next_due_ms() is None

    play(Scripted().add("f", waiting), script)


def test_an_event_does_not_end_a_wait_of_the_run_that_it_starts() -> None:
    def body(_: dict[str, Any]) -> Flow:
        found = yield wait("w", "test/f", "1h")
        return found["data"]

    async def script(stage: Stage) -> None:
        await stage.send("test/f", data={"n": 1})
        assert stage.run("f").status == "Running"
        await stage.send("test/f", data={"n": 2})
        first, second = reversed(stage.engine.runs(slug="f"))
        assert (first.output, second.status) == ({"n": 2}, "Running")

    play(Scripted().add("f", body), script)


@pytest.mark.parametrize("expression", ["event.data.id ==", "nonsense(event.data)", "other.x == 1"])
def test_a_bad_expression_fails_the_run_at_once_and_says_why(expression: str) -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield gather(wait("good", "x"), wait("bad", "x", "1h", expression))

    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        row = stage.run("f")
        assert row.status == "Failed"
        assert expression in row.output["error"]["message"]
        assert stage.engine.next_due_ms() is None

    play(Scripted().add("f", body, retries=4), script)


def parent(_: dict[str, Any]) -> Flow:
    try:
        value = yield invoke("call", "child", {"q": 1}, "1m")
    except StepFailed as error:
        return f"caught {error}"
    return value


def test_an_invoked_function_gets_the_data_and_gives_its_result() -> None:
    def child(event: dict[str, Any]) -> Flow:
        return {"got": event["data"]["q"]}
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/parent")
        assert stage.run("parent").output == {"got": 1}
        assert stage.steps("parent") == {hashed("call"): {"data": {"got": 1}}}
        run_id = stage.run("parent").run_id
        (invoked,) = stage.internal("invoked")
        caller = invoked.data["_inngest"]
        assert invoked.data["q"] == 1
        assert caller["correlation_id"] == f"{run_id}.{hashed('call')}"
        assert (caller["fn_id"], caller["name"]) == ("child", "call")
        assert caller["expire"] == invoked.ts + 60_000
        row = stage.engine.timeline(run_id)[0]
        assert (row.kind, row.detail["run_id"]) == ("InvokeFunction", stage.run("child").run_id)
        told = [event.data.get("correlation_id") for event in stage.internal("finished")]
        assert sorted(told, key=str) == [caller["correlation_id"], None]
        assert stage.engine.next_due_ms() is None

    app = Scripted().add("parent", parent).add("child", child)
    play(app, script)


def test_an_invoked_function_that_fails_fails_the_step_which_can_be_caught() -> None:
    def child(_: dict[str, Any]) -> Flow:
        raise Boom("callee failed")
        yield

    async def script(stage: Stage) -> None:
        await stage.send("test/parent")
        assert stage.run("parent").output == "caught callee failed"
        error = stage.steps("parent")[hashed("call")]["error"]
        assert error.keys() == {"error", "name", "message", "stack"}

    play(Scripted().add("parent", parent, retries=4).add("child", child), script)


def test_an_unknown_function_fails_the_step_at_once() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/parent")
        error = {"message": "could not find function with ID: child", "name": "Error"}
        assert stage.steps("parent") == {hashed("call"): {"error": error}}
        (_, finished) = stage.internal("finished")
        assert (finished.data["function_id"], finished.data["run_id"]) == ("", "")

    play(Scripted().add("parent", parent), script)


def test_an_invocation_times_out_with_the_name_that_clients_know() -> None:
    def child(_: dict[str, Any]) -> Flow:
        yield sleep("long", "1d")

    async def script(stage: Stage) -> None:
        await stage.send("test/parent")
        child_id = stage.run("child").run_id
        row = stage.engine.timeline(stage.run("parent").run_id)[0]
        assert (row.status, row.detail["run_id"]) == ("Waiting", child_id)
        await stage.advance(60_000)
        message = "Timed out waiting for invoked function to complete"
        name = "InngestInvokeTimeoutError"
        error = {"error": f"{name}: {message}", "name": name, "message": message}
        assert stage.steps("parent") == {hashed("call"): {"error": error}}
        await stage.finish()
        assert stage.run("child").status == "Completed"

    play(Scripted().add("parent", parent).add("child", child), script)


def napping(_: dict[str, Any]) -> Flow:
    yield sleep("nap", "1h")
    yield run("after")


def test_an_event_cancels_the_runs_it_is_meant_for() -> None:
    async def script(stage: Stage) -> None:
        mine = await stage.send("test/f", data={"id": 1})
        other = await stage.send("test/f", data={"id": 2})
        await stage.send("order/off", data={"id": 1})
        (gone,) = stage.engine.runs_of_event(mine.internal_id)
        (kept,) = stage.engine.runs_of_event(other.internal_id)
        assert (gone.status, gone.output, kept.status) == ("Cancelled", {}, "Running")
        await stage.finish()
        assert stage.app.ran == ["after"]
        (cancelled,) = stage.internal("cancelled")
        assert cancelled.id == gone.run_id
        assert "result" not in cancelled.data
        assert cancelled.data["_inngest"] == {"status": "Cancelled"}
        (row,) = stage.engine.timeline(gone.run_id)
        assert (row.kind, row.status) == ("Sleep", "Cancelled")

    cancel = CancelOn("order/off", "event.data.id == async.data.id")
    play(Scripted().add("f", napping, cancels=[cancel]), script)


def test_a_cancellation_has_its_time() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        await stage.advance(60_001)
        await stage.send("order/off")
        assert stage.run("f").status == "Running"

    cancel = CancelOn("order/off", timeout_ms=60_000)
    play(Scripted().add("f", napping, cancels=[cancel]), script)


def test_cancelling_twice_is_fine_and_an_unknown_run_is_said() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f")
        run_id = stage.run("f").run_id
        assert stage.engine.cancel(run_id)
        ended = stage.run("f")
        assert stage.engine.cancel(run_id)
        assert (stage.run("f"), ended.status) == (ended, "Cancelled")
        assert not stage.engine.cancel("01HF7YAT00000G40R40M30E20A")
        await stage.advance(DAY)
        assert stage.app.ran == []

    play(Scripted().add("f", napping), script)


def test_an_answer_that_comes_after_the_end_changes_nothing() -> None:
    async def script(stage: Stage) -> None:
        held, stage.app.bodies["f"] = asyncio.Event(), parallel

        async def slow(call: Call) -> Reply:
            await held.wait()
            return await stage.app(call)

        async with Engine(slow, clock=stage.clock) as engine:
            stage.app.register(engine)
            engine.ingest([engine.new_event(name="test/f", data={})])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            (row,) = engine.runs()
            assert engine.timeline(row.run_id)[0].status == "Running"
            engine.cancel(row.run_id)
            held.set()
            await engine.idle()
            (row,) = engine.runs()
            assert row.status == "Cancelled"
            assert [each.status for each in engine.timeline(row.run_id)] == ["Cancelled"]

    play(Scripted().add("f", napping), script)


def test_one_event_id_makes_one_run_a_day() -> None:
    async def script(stage: Stage) -> None:
        for _ in range(2):
            await stage.send("test/f", id="same")
            await stage.send("test/f", id="other")
        assert len(stage.engine.runs()) == 2
        assert len(stage.engine.events(name="test/f")) == 4
        await stage.advance(DAY)
        await stage.send("test/f", id="same")
        assert len(stage.engine.runs()) == 3

    play(Scripted().add("f", napping), script)


def test_an_idempotency_key_makes_one_run_a_day() -> None:
    async def script(stage: Stage) -> None:
        for key in ("a", "b", "a", None, None):
            await stage.send("test/f", data={"key": key})
        assert len(stage.engine.runs()) == 4

    play(Scripted().add("f", napping, idempotency="event.data.key"), script)


def test_a_time_in_the_future_delays_the_run() -> None:
    async def script(stage: Stage) -> None:
        await stage.send("test/f", ts=stage.clock.now_ms() + 60_000)
        assert (stage.run("f").status, stage.app.calls) == ("Scheduled", [])
        await stage.advance(60_000)
        assert stage.run("f").started_ms == stage.clock.now_ms()

    play(Scripted().add("f", napping), script)


def test_triggers_match_names_wildcards_and_expressions_once_an_event() -> None:
    def body(_: dict[str, Any]) -> Flow:
        return 1
        yield

    def triggered(*triggers: EventTrigger) -> dict[str, Any]:
        return {"triggers": triggers}

    async def script(stage: Stage) -> None:
        await stage.send("app/user.made", data={"n": 5})
        assert sorted(row.slug for row in stage.engine.runs()) == ["dots", "many", "slash", "yes"]

    app = Scripted()
    app.add("slash", body, **triggered(EventTrigger("app/*")))
    app.add("dots", body, **triggered(EventTrigger("app/user.*")))
    app.add("many", body, **triggered(EventTrigger("app/*"), EventTrigger("app/user.made")))
    app.add("yes", body, **triggered(EventTrigger("app/user.made", "event.data.n > 4")))
    app.add("no", body, **triggered(EventTrigger("app/user.made", "event.data.n > 5")))
    app.add("bad", body, **triggered(EventTrigger("app/user.made", "event.data.n >")))
    app.add("odd", body, **triggered(EventTrigger("app/user.made", "event.data.n > 'x'")))
    app.add("other", body, **triggered(EventTrigger("app/user")))
    play(app, script)


def test_a_cron_function_runs_on_the_minute_with_the_event_clients_know() -> None:
    def body(event: dict[str, Any]) -> Flow:
        return event
        yield

    async def script(stage: Stage) -> None:
        due = stage.engine.next_due_ms()
        assert due is not None
        assert due % 60_000 == 0
        await stage.advance(due - stage.clock.now_ms())
        row = stage.run("f")
        assert row.cron == "TZ=Europe/Paris * * * * *"
        assert row.output == {
            "name": "inngest/scheduled.timer",
            "id": "2023-11-14T22:14:00Z",
            "ts": due,
            "user": {},
            "data": {
                "cron": "TZ=Europe/Paris * * * * *",
                "scheduledAt": "2023-11-14T22:14:00Z",
                "fireAt": "2023-11-14T22:14:00Z",
            },
        }
        assert stage.engine.next_due_ms() == due + 60_000
        await stage.advance(10 * 60_000)
        assert len(stage.engine.runs()) == 2, "missed ticks are one run"
        stage.engine.register(APP, [])
        assert stage.engine.next_due_ms() is None

    app = Scripted().add("f", body, triggers=[CronTrigger("TZ=Europe/Paris * * * * *")])
    play(app, script)


def test_jitter_moves_a_tick_within_its_bound() -> None:
    async def script(stage: Stage) -> None:
        due = stage.engine.next_due_ms()
        assert due is not None
        assert 1000 <= due % 60_000 < 10_000

    play(Scripted().add("f", napping, triggers=[CronTrigger("* * * * *", 10_000)]), script)


def test_a_signal_reaches_the_run_that_waits_for_it() -> None:
    def body(_: dict[str, Any]) -> Flow:
        value = yield signal("sig", "task/1", timeout="30s")
        return value

    async def script(stage: Stage) -> None:
        assert stage.engine.signal("task/1", 1) is None
        await stage.send("test/f")
        assert stage.engine.signal("task/1", {"ok": True}) == stage.run("f").run_id
        await stage.engine.idle()
        assert stage.steps("f")[hashed("sig")] == {
            "data": {"signal": "task/1", "data": {"ok": True}}
        }
        assert stage.run("f").status == "Completed"

    play(Scripted().add("f", body), script)


@pytest.mark.parametrize(
    ("conflict", "first", "second"),
    [("fail", "Completed", "Failed"), ("replace", "Running", "Completed")],
)
def test_two_runs_cannot_wait_for_one_signal(conflict: str, first: str, second: str) -> None:
    def body(_: dict[str, Any]) -> Flow:
        value = yield signal("sig", "s", timeout="30s", conflict=conflict)
        return value

    async def script(stage: Stage) -> None:
        runs = [await stage.send("test/f"), await stage.send("test/f")]
        stage.engine.signal("s", 1)
        await stage.engine.idle()
        rows = [stage.engine.runs_of_event(event.internal_id)[0] for event in runs]
        assert [row.status for row in rows] == [first, second]
        await stage.finish()
        assert all(row.status != "Running" for row in stage.engine.runs())

    play(Scripted().add("f", body), script)


def answering(*answers: Reply) -> tuple[Scripted, Callable[[Call], Awaitable[Reply]]]:
    """An app that gives these answers, the last one for ever."""
    app, left = Scripted().add("f", napping, retries=1), list(answers)

    async def caller(call: Call) -> Reply:
        app.calls.append(call)
        return left.pop(0) if len(left) > 1 else left[0]

    return app, caller


def outcome_of(*answers: Reply) -> tuple[RunRow, int]:
    """How a run ends whose app answers like this, and after how many calls."""
    app, caller = answering(*answers)

    async def main() -> RunRow:
        clock = ManualClock()
        async with Engine(caller, clock=clock) as engine:
            app.register(engine)
            stage = Stage(app, engine, clock)
            await stage.send("test/f")
            await stage.finish()
            return stage.run("f")

    return asyncio.run(main()), len(app.calls)


def op(kind: str, name: str = "s", **fields: Any) -> dict[str, Any]:
    return {"op": kind, "id": hashed(name), "name": name, **fields}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"op": "Nonsense", "id": "x"}, "unknown op 'Nonsense'"),
        ({"op": "StepRun"}, "StepRun without an id"),
        (op("StepError"), "without an error"),
        (op("InvokeFunction", opts={"function_id": "f"}), "without a payload"),
        (op("Sleep", opts={"duration": "soon"}), "not a duration: 'soon'"),
        (op("WaitForEvent", opts={"event": "e", "timeout": "x"}), "not a duration: 'x'"),
        (op("DeferAdd"), "cannot do DeferAdd yet"),
    ],
)
def test_a_bad_op_fails_the_attempt_and_never_hangs_the_run(bad: dict[str, Any], said: str) -> None:
    row, calls = outcome_of(Ops((bad,), 2))
    assert (row.status, calls) == ("Failed", 2)
    assert said in row.output["error"]["message"]


@pytest.mark.parametrize("ops", [(), ({"op": "None"},), (op("StepRun", data=1),)])
def test_an_app_that_finds_nothing_new_is_asked_again_then_fails(ops: Any) -> None:
    row, calls = outcome_of(Ops((op("StepRun", data=1),), 2), Ops(ops, 2))
    assert row.status == "Failed"
    assert "nothing new" in row.output["error"]["message"]
    assert calls <= 6


def test_a_run_can_end_inside_an_op_answer() -> None:
    done = op("RunComplete", data={"sum": 3})
    row, calls = outcome_of(Ops((op("StepRun", data=1), done), 2))
    assert (row.status, row.output, calls) == ("Completed", {"sum": 3}, 1)


def test_a_run_has_a_thousand_steps_and_no_more() -> None:
    ops = tuple(op("StepRun", f"s{n}", data=n) for n in range(999))
    row, calls = outcome_of(Ops(ops, 2), Ops((op("StepRun", "x"), op("StepRun", "y")), 2))
    assert (row.status, calls) == ("Failed", 2)
    assert row.output["error"]["name"] == "InngestErrFunctionOverflowed"


def test_the_state_of_a_run_has_a_limit() -> None:
    big = "x" * (17 * 1024 * 1024)
    row, _ = outcome_of(Ops((op("StepRun", "a", data=big), op("StepRun", "b", data=big)), 2))
    assert row.output["error"]["name"] == "InngestErrStateOverflowed"


def test_a_caller_that_breaks_is_a_failed_attempt() -> None:
    async def caller(call: Call) -> Reply:
        raise RuntimeError("the wire is cut")

    async def main() -> None:
        async with Engine(caller, clock=ManualClock()) as engine:
            Scripted().add("f", napping).register(engine)
            engine.ingest([engine.new_event(name="test/f", data={})])
            await engine.idle()
            (row,) = engine.runs()
            assert row.status == "Failed"
            assert "the wire is cut" in row.output["error"]["message"]

    asyncio.run(main())


def test_registering_again_changes_what_is_said_and_nothing_more() -> None:
    async def script(stage: Stage) -> None:
        engine, functions = stage.engine, stage.app.functions
        assert not engine.register(APP, functions)
        assert engine.register(APP, functions[:1])
        assert [function.slug for function in engine.functions()] == ["f"]
        await stage.send("test/g")
        assert engine.runs() == []
        archived = engine.function("g-uuid")
        assert archived is not None
        assert engine.function("g") is None
        assert engine.register(APP, functions)
        await stage.send("test/g")
        assert stage.run("g").function_id == "g-uuid"
        engine.note_sync_error(APP.url, "refused")
        assert [app.error for app in engine.apps()] == ["refused"]
        engine.register(APP, functions)
        assert [app.error for app in engine.apps()] == [None]
        engine.remove_app(APP.url)
        assert (engine.apps(), engine.functions()) == ([], [])

    play(Scripted().add("f", napping).add("g", napping), script)


def test_what_is_not_applied_is_named() -> None:
    async def script(stage: Stage) -> None:
        (function,) = stage.engine.functions()
        assert stage.engine.unsupported(function) == ["priority", "concurrency.fn"]

    app = Scripted().add("f", napping, priority={"run": "1"}, concurrency={"fn": [{"limit": 1}]})
    play(app, script)


def test_a_function_is_started_directly() -> None:
    def body(event: dict[str, Any]) -> Flow:
        return event["data"]["n"]
        yield

    async def script(stage: Stage) -> None:
        event = stage.engine.new_event(name="", data={"n": 3})
        assert not stage.engine.invoke("nobody", event)
        assert stage.engine.invoke("f", event)
        await stage.engine.idle()
        assert stage.run("f").output == 3

    play(Scripted().add("f", body), script)


def test_lists_are_paged_newest_first() -> None:
    async def script(stage: Stage) -> None:
        sent = [(await stage.send("test/f", data={"n": n})).internal_id for n in range(5)]
        engine = stage.engine
        page = engine.events(limit=2)
        assert [event.internal_id for event in page] == [sent[4], sent[3]]
        page = engine.events(limit=2, before=sent[3])
        assert [event.internal_id for event in page] == [sent[2], sent[1]]
        runs = engine.runs(limit=2)
        rest = engine.runs(before=runs[-1].run_id)
        assert [row.event_ids[0] for row in runs + rest] == sent[::-1]
        assert engine.runs(status="Completed") == []

    play(Scripted().add("f", napping), script)


def test_steps_reported_in_the_middle_of_a_call_are_kept_and_give_it_new_attempts() -> None:
    async def script(stage: Stage) -> None:
        app, checked = stage.app, list[Call]()

        async def caller(call: Call) -> Reply:
            app.calls.append(call)
            if call.attempt == 0 and not call.stack:
                ops = [op("StepRun", "one", data=1), op("StepPlanned", "two")]
                nap = op("Sleep", "s", opts={"duration": "1s"})
                assert other.checkpoint(call.run_id, call.job_id, ops)
                assert other.checkpoint(call.run_id, call.job_id, ops), "twice is fine"
                assert list(other.run_steps(call.run_id)) == [hashed("one")]
                with pytest.raises(ValueError, match="steps that ran, not Sleep"):
                    other.checkpoint(call.run_id, call.job_id, [nap])
                assert not other.checkpoint(call.run_id, "nothing", ops)
                checked.append(call)
                return Failed({"error": "e", "name": "E", "message": "m"}, "raw")
            return Finished(named(call, "one"))

        async with Engine(caller, EngineOptions(retry_interval_ms=1), stage.clock) as other:
            app.register(other)
            await Stage(app, other, stage.clock).send("test/f")
            await Stage(app, other, stage.clock).finish()
            (row,) = other.runs()
            assert (row.status, row.output) == ("Completed", ["one"])
            assert [call.attempt for call in app.calls] == [0, 1]
            assert len(checked) == 1

    play(Scripted().add("f", napping, retries=1), script)
