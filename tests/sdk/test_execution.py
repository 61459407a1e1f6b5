"""Steps: run once, replayed, planned, failed, targeted; each scenario sync and async."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from inngest_sdk.execution import Execute, Fail, Hold, Replay, Report, decide
from inngest_sdk.steps import Op, StepIds, hash_id, run_op, sleep_op, wait_op
from inngest_serverless import (
    Event,
    NonRetriableError,
    ParallelMode,
    RetryAfterError,
    StepError,
)
from tests.sdk.play import Mode, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


# --- what to do with a step -------------------------------------------------------------------

H = hash_id("a")
RUN, SLEEP, WAIT = run_op("a"), sleep_op("1s"), wait_op("a", "x/y", None, "1s")


@pytest.mark.parametrize(
    ("op", "memos", "target", "planning", "expected"),
    [
        (RUN, {}, None, False, Execute()),
        (RUN, {}, None, True, Report()),
        (RUN, {}, H, False, Execute()),
        (RUN, {}, H, True, Execute()),
        (RUN, {}, "other", False, Hold()),
        (RUN, {H: {"data": 1}}, None, False, Replay(1)),
        (RUN, {H: {"data": None}}, None, True, Replay(None)),
        (RUN, {H: {"data": 1}}, "other", True, Replay(1)),
        (RUN, {H: {"input": [7]}}, None, False, Execute([7])),
        (RUN, {H: {"input": [7]}}, H, True, Execute([7])),
        (RUN, {H: {"input": [7]}}, "other", False, Hold()),
        (RUN, {H: "bare"}, None, False, Replay("bare")),
        (RUN, {H: {"neither": 1}}, None, False, Replay({"neither": 1})),
        (SLEEP, {}, None, False, Report()),
        (SLEEP, {H: None}, None, False, Replay(None)),
        (WAIT, {H: None}, None, False, Replay(None)),
        (WAIT, {H: {"name": "x/y", "data": {}}}, None, False, Replay({"name": "x/y", "data": {}})),
        (WAIT, {}, "other", False, Hold()),
    ],
)
def test_the_table_of_verdicts(
    op: Op, memos: dict[str, Any], target: str | None, planning: bool, expected: object
) -> None:
    assert decide(op, H, memos, target=target, planning=planning) == expected


def test_a_memoized_error_becomes_a_step_error() -> None:
    verdict = decide(
        RUN, H, {H: {"error": {"name": "N", "message": "m"}}}, target=None, planning=False
    )
    assert isinstance(verdict, Fail)
    assert (verdict.error.name, verdict.error.message) == ("N", "m")


@pytest.mark.parametrize(
    ("names", "hashed"),
    [
        (["first step"], ["first step"]),
        (["a", "a", "a"], ["a", "a:1", "a:2"]),
        (["a:1", "a", "a"], ["a:1", "a", "a:2"]),
        (["a", "a", "a:1"], ["a", "a:1", "a:1:1"]),
        (["a b", "é", "😀"], ["a b", "é", "😀"]),
    ],
)
def test_equal_step_ids_are_numbered_past_ids_that_are_taken(
    names: list[str], hashed: list[str]
) -> None:
    ids = StepIds()
    assert [ids.next(name).hashed for name in names] == [hash_id(text) for text in hashed]


def test_the_hash_of_a_step_id_is_what_other_sdks_make_of_it() -> None:
    assert hash_id("first step") == "98bf98df193bcce7c33e6bc50927cf2ac21206cb"


def note(ran: list[str], name: str, value: Any) -> Callable[[], Any]:
    """A step's body that notes that it ran."""

    def body() -> Any:
        ran.append(name)
        return value

    return body


# --- steps one after the other ----------------------------------------------------------------


def test_a_function_without_steps_returns_at_once(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return {"name": ctx.event.name, "n": ctx.event.data["n"], "attempt": ctx.attempt}

    run = define(both(mode, f))
    assert run.finish() == {"name": "a/b", "n": 1, "attempt": 0}
    assert run.calls == [("step", 200)]


def test_each_step_runs_once_in_a_call_of_its_own(mode: Mode) -> None:
    ran: list[str] = []

    def f(ctx: Any) -> Steps:
        one = yield ctx.step.run("one", note(ran, "one", {"n": 1}))
        two = yield ctx.step.run("two", note(ran, "two", [one["n"], None]))
        return {"one": one, "two": two}

    run = define(both(mode, f))
    assert run.finish() == {"one": {"n": 1}, "two": [1, None]}
    assert ran == ["one", "two"]
    assert run.calls == [("step", 206), ("step", 206), ("step", 200)]


def test_a_step_reports_its_id_its_value_and_its_arguments(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("sum", lambda a, b, c=0: a + b + c, 1, 2, c=3)

    [op] = define(both(mode, f)).ops()
    assert op == {
        "op": "StepRun",
        "id": hash_id("sum"),
        "name": "sum",
        "displayName": "sum",
        "userland": {"id": "sum"},
        "opts": {"type": "step.run", "input": [1, 2]},
        "data": 6,
    }


def test_arguments_that_are_not_json_are_not_reported(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("size", len, {1, 2})

    [op] = define(both(mode, f)).ops()
    assert (op["opts"], op["data"]) == ({"type": "step.run"}, 2)


def test_arguments_edited_on_the_server_replace_the_codes(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("double", lambda n: n * 2, 4))

    run = define(both(mode, f))
    run.steps[hash_id("double")] = {"input": [50]}
    [op] = run.ops()
    assert op["data"] == 100


def test_a_step_in_a_loop_keeps_every_value(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        values = []
        for n in range(3):
            values.append((yield ctx.step.run("same", lambda n=n: n)))
        return values

    assert define(both(mode, f)).finish() == [0, 1, 2]


def test_an_async_handler_runs_in_an_async_function() -> None:
    async def double(n: int) -> int:
        return n * 2

    async def f(ctx: Any) -> Any:
        return [await ctx.step.run("a", double, 2), await ctx.step.run("b", lambda: double(5))]

    assert define(f).finish() == [4, 10]


def test_sleeps_waits_and_invokes_are_reported_for_the_server_to_do(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep("nap", timedelta(seconds=90))
        yield ctx.step.sleep("short", 1500)
        yield ctx.step.sleep("over", timedelta(seconds=-1))
        yield ctx.step.sleep_until("noon", datetime(2030, 1, 1, 12, tzinfo=timezone.utc))
        event = yield ctx.step.wait_for_event(
            "w", event="x/y", if_exp="async.data.k == event.data.k", timeout=timedelta(hours=1)
        )
        nothing = yield ctx.step.wait_for_event("w2", event="x/z", timeout=1000)
        answer = yield ctx.step.invoke_by_id("call", function_id="g", data={"q": 1}, timeout=5000)
        other = yield ctx.step.invoke_by_id("call2", app_id="bank", function_id="g", v="2")
        return [event.data, event.name, nothing, answer, other]

    run = define(both(mode, f))
    memos = {
        "w": {"name": "x/y", "data": {"k": 7}, "id": "i", "ts": 1, "user": {}},
        "call": {"data": "pong"},
        "call2": {"data": None},
    }
    assert run.finish(memos) == [{"k": 7}, "x/y", None, "pong", None]
    ops = [json.loads(answer.body)[0] for answer in run.answers[:-1]]
    assert [(op["op"], op["name"], op["opts"]) for op in ops] == [
        ("Sleep", "1m30s", {"duration": "1m30s"}),
        ("Sleep", "1s500ms", {"duration": "1s500ms"}),
        ("Sleep", "0s", {"duration": "0s"}),
        ("Sleep", "2030-01-01T12:00:00.000Z", {"duration": "2030-01-01T12:00:00.000Z"}),
        (
            "WaitForEvent",
            "w",
            {"event": "x/y", "if": "async.data.k == event.data.k", "timeout": "1h"},
        ),
        ("WaitForEvent", "w2", {"event": "x/z", "timeout": "1s"}),
        (
            "InvokeFunction",
            "call",
            {"function_id": "shop-g", "payload": {"data": {"q": 1}}, "timeout": "5s"},
        ),
        (
            "InvokeFunction",
            "call2",
            {"function_id": "bank-g", "payload": {"data": {}, "v": "2"}},
        ),
    ]
    assert all(op["data"] is None for op in ops)


def test_invoking_a_function_names_it_by_its_full_id(mode: Mode) -> None:
    other = define(lambda ctx: None, fn_id="other")

    def f(ctx: Any) -> Steps:
        yield ctx.step.invoke("call", function=other.function)

    run = define(both(mode, f), other.client)
    [op] = run.ops()
    assert op["opts"] == {"function_id": "shop-other", "payload": {"data": {}}}


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (timedelta(days=367), "367 days"),
        ("10 parsecs", "10 parsecs"),
        (1.5, "1.5"),
    ],
)
def test_a_wrong_duration_fails_the_function_for_good(mode: Mode, duration: Any, said: str) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep("nap", duration)

    answer = define(both(mode, f)).call()
    assert answer.status == 500
    assert answer.headers["x-inngest-no-retry"] == "true"
    message = json.loads(answer.body)["message"]
    assert said in message
    assert "'nap'" in message


def test_the_same_call_is_answered_with_the_same_bytes(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", lambda: 1 / 0)

    run = define(both(mode, f))
    first, second = run.call(), run.call()
    assert (first.status, first.body) == (second.status, second.body)


# --- failures ---------------------------------------------------------------------------------


def boom(message: str = "boom") -> Any:
    raise ValueError(message)


def test_a_failed_step_is_reported_to_be_retried(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", boom)

    answer = define(both(mode, f)).call()
    assert answer.status == 206
    assert answer.headers["x-inngest-no-retry"] == "false"
    [op] = json.loads(answer.body)
    assert op["op"] == "StepError"
    assert (op["error"]["name"], op["error"]["message"]) == ("ValueError", "boom")
    assert "in boom" in op["error"]["stack"]
    assert "inngest_sdk" not in op["error"]["stack"]
    assert "cause" not in op["error"]
    assert "data" not in op


def test_a_failed_step_is_final_on_its_last_attempt(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", boom)

    answer = define(both(mode, f)).call(attempt=3)
    assert json.loads(answer.body)[0]["op"] == "StepFailed"
    assert answer.headers["x-inngest-no-retry"] == "true"


def test_without_a_known_number_of_attempts_no_attempt_is_the_last(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", boom)

    run = define(both(mode, f))
    run.max_attempts = None
    assert run.ops(attempt=99)[0]["op"] == "StepError"


def test_a_non_retriable_error_in_a_step_is_final_and_memoized(mode: Mode) -> None:
    def decline() -> None:
        raise NonRetriableError("card declined")

    def f(ctx: Any) -> Steps:
        try:
            yield ctx.step.run("charge", decline)
        except StepError as error:
            return f"{error.name}: {error.message}"

    run = define(both(mode, f))
    assert run.finish() == "NonRetriableError: card declined"
    assert [call[1] for call in run.calls] == [206, 200]


@pytest.mark.parametrize(
    ("after", "header"),
    [
        (2000, "2"),
        (1, "1"),
        (timedelta(minutes=2), "120"),
        (datetime(2030, 1, 1, tzinfo=timezone.utc), "2030-01-01T00:00:00.000Z"),
        (datetime(2030, 1, 1), "2030-01-01T00:00:00.000Z"),
    ],
)
def test_retry_after_is_told_from_steps_and_from_functions(
    mode: Mode, after: Any, header: str
) -> None:
    def later() -> None:
        raise RetryAfterError("later", after)

    def in_step(ctx: Any) -> Steps:
        yield ctx.step.run("a", later)

    def in_function(ctx: Any) -> Steps:
        yield from ()
        later()

    for body, status in ((in_step, 206), (in_function, 500)):
        answer = define(both(mode, body)).call()
        assert (answer.status, answer.headers["retry-after"]) == (status, header)
        assert answer.headers["x-inngest-no-retry"] == "false"


def test_a_caught_step_error_has_name_message_stack_and_causes(mode: Mode) -> None:
    def pay() -> None:
        try:
            boom("no money")
        except ValueError as error:
            raise RuntimeError("cannot pay") from error

    def f(ctx: Any) -> Steps:
        try:
            yield ctx.step.run("pay", pay)
        except StepError as error:
            cause = error.__cause__
            assert isinstance(cause, StepError)
            assert error.stack is not None and "in pay" in error.stack
            return [error.name, error.message, cause.name, cause.message]

    run = define(both(mode, f))
    run.max_attempts = 1
    assert run.finish() == ["RuntimeError", "cannot pay", "ValueError", "no money"]


def test_a_step_error_that_nobody_catches_fails_the_function_once(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", boom)

    run = define(both(mode, f))
    run.memo(run.ops(attempt=3)[0], {"error": {"name": "ValueError", "message": "boom"}})
    answer = run.call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    body = json.loads(answer.body)
    assert (body["name"], body["message"]) == ("ValueError", "boom")


@pytest.mark.parametrize(
    ("error", "no_retry"),
    [(RuntimeError("x"), "false"), (NonRetriableError("x"), "true")],
)
def test_a_function_that_raises_says_whether_to_retry(
    mode: Mode, error: Exception, no_retry: str
) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        raise error

    answer = define(both(mode, f)).call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, no_retry)
    assert json.loads(answer.body)["name"] == type(error).__name__


def test_success_never_carries_retry_headers(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1)

    run = define(both(mode, f))
    run.finish()
    for answer in run.answers:
        assert not {"retry-after", "x-inngest-no-retry"} & answer.headers.keys()


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"raw", "\ud800"])
def test_a_step_result_that_is_not_json_fails_the_step_for_good(mode: Mode, value: Any) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("odd", lambda: value)

    [op] = define(both(mode, f)).ops()
    assert op["op"] == "StepFailed"
    assert op["error"]["name"] == "OutputUnserializableError"
    assert f"step 'odd' returned a {type(value).__name__}" in op["error"]["message"]


def test_a_function_result_that_is_not_json_fails_the_function_for_good(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return object()

    answer = define(both(mode, f)).call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    assert "shop-f" in json.loads(answer.body)["message"]


def test_a_step_result_over_four_megabytes_fails_the_step_and_names_the_limit(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("big", lambda: "x" * 4 * 1024 * 1024)

    [op] = define(both(mode, f)).ops()
    assert op["op"] == "StepFailed"
    assert "4,194,304" in op["error"]["message"]


def test_a_step_inside_a_step_is_refused_with_both_names(mode: Mode) -> None:
    def sync_f(ctx: Any) -> Any:
        return ctx.step.run("outer", lambda: ctx.step.run("inner", lambda: 1))

    async def async_f(ctx: Any) -> Any:
        return await ctx.step.run("outer", lambda: ctx.step.run("inner", lambda: 1))

    [op] = define(sync_f if mode == "sync" else async_f).ops()
    assert op["op"] == "StepFailed"
    assert op["error"]["name"] == "StepNestedError"
    assert "step 'inner' was called inside step 'outer'" in op["error"]["message"]


def test_sys_exit_in_user_code_is_an_error_of_the_function_not_of_the_process(mode: Mode) -> None:
    def in_function(ctx: Any) -> Steps:
        yield from ()
        raise SystemExit(3)

    def in_step(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: exit(3))

    answer = define(both(mode, in_function)).call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    [op] = define(both(mode, in_step)).ops()
    assert (op["op"], op["error"]["message"]) == ("StepFailed", "user code called sys.exit(3)")


class Panic(BaseException):
    """As libraries of other languages raise."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Panic("rust"), "user code raised Panic: rust"),
        (GeneratorExit(), "user code raised GeneratorExit: "),
        (Unspeakable(), "(the message of this Unspeakable cannot be shown)"),
        (ValueError("\ud800"), "?"),
        (ValueError("x" * 70_000), "x" * 65_536 + "..."),
    ],
)
def test_whatever_user_code_raises_is_told(mode: Mode, error: BaseException, said: str) -> None:
    def throw() -> None:
        raise error

    def in_step(ctx: Any) -> Steps:
        yield ctx.step.run("a", throw)

    def in_function(ctx: Any) -> Steps:
        yield from ()
        throw()

    [op] = define(both(mode, in_step)).ops()
    assert (op["op"], op["error"]["message"]) == ("StepError", said)
    if not isinstance(error, GeneratorExit):  # which ends the generator that a scenario is
        answer = define(both(mode, in_function)).call()
        assert (answer.status, json.loads(answer.body)["message"]) == (500, said)


@pytest.mark.parametrize("name", [42, None, "", ["a"]])
def test_a_step_id_that_is_no_text_fails_the_function_for_good(mode: Mode, name: Any) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run(name, lambda: 1)

    answer = define(both(mode, f)).call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    assert f"the id of a step is {name!r}" in json.loads(answer.body)["message"]


def test_large_arguments_are_not_told(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("size", len, "x" * 70_000)

    [op] = define(both(mode, f)).ops()
    assert (op["opts"], op["data"]) == ({"type": "step.run"}, 70_000)


def test_an_async_callable_in_a_sync_function_says_what_to_change() -> None:
    async def one() -> int:
        return 1

    [op] = define(lambda ctx: ctx.step.run("a", one)).ops()
    assert op["op"] == "StepFailed"
    assert "make the function async" in op["error"]["message"]


def test_a_wait_that_was_another_step_before_says_so(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.wait_for_event("a", event="x/y", timeout=1000)

    run = define(both(mode, f))
    run.steps[hash_id("a")] = {"data": 1}
    answer = run.call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "Give the new one another id" in json.loads(answer.body)["message"]


# --- leaving user code ------------------------------------------------------------------------


def test_except_exception_around_steps_lets_the_interrupt_pass(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        try:
            yield ctx.step.run("a", lambda: 1)
        except Exception:
            return "swallowed"
        return "through"

    assert define(both(mode, f)).finish() == "through"


def test_user_code_that_swallows_the_interrupt_fails_loudly() -> None:
    def f(ctx: Any) -> Any:
        try:
            ctx.step.run("a", lambda: 1)
        except:  # noqa: E722 - the mistake under test
            return "swallowed"
        return "went on"

    async def g(ctx: Any) -> Any:
        with suppress(BaseException):
            await ctx.step.run("a", lambda: 1)
        return "went on"

    for handler in (f, g):
        answer = define(handler).call()
        assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
        body = json.loads(answer.body)
        assert body["name"] == "InterruptSwallowedError"
        assert "Catch Exception instead" in body["message"]


def test_a_step_after_a_swallowed_interrupt_does_not_run() -> None:
    ran: list[str] = []

    def f(ctx: Any) -> Any:
        try:
            ctx.step.run("a", lambda: 1)
        except BaseException:
            ctx.step.run("b", lambda: ran.append("b"))

    define(f).call()
    assert ran == []


def test_finally_blocks_run_when_a_call_ends(mode: Mode) -> None:
    closed: list[int] = []

    def f(ctx: Any) -> Any:
        try:
            return ctx.step.run("a", lambda: 1)
        finally:
            closed.append(1)

    async def g(ctx: Any) -> Any:
        try:
            return await ctx.step.run("a", lambda: 1)
        finally:
            closed.append(1)

    assert define(f if mode == "sync" else g).finish() == 1
    assert closed == [1, 1]


# --- targeted calls ---------------------------------------------------------------------------


def test_a_targeted_call_runs_that_step_and_no_other(mode: Mode) -> None:
    ran: list[str] = []

    def f(ctx: Any) -> Steps:
        yield ctx.group.parallel(
            tuple(
                lambda name=name: ctx.step.run(name, note(ran, name, name))
                for name in ("a", "b", "c")
            )
        )

    [op] = define(both(mode, f)).ops(hash_id("b"), planning=True)
    assert (op["op"], op["data"]) == ("StepRun", "b")
    assert ran == ["b"]


def test_a_targeted_step_that_is_gone_is_a_retriable_error_that_lists_what_is_there(
    mode: Mode,
) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1)

    answer = define(both(mode, f)).call("0" * 40)
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "false")
    body = json.loads(answer.body)
    assert body["requestedStep"] == "0" * 40
    assert body["foundSteps"] == [hash_id("a")]
    assert body["totalFoundSteps"] == 1


def test_a_targeted_step_behind_the_end_of_the_function_is_never_a_success(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return "done"

    answer = define(both(mode, f)).call("0" * 40)
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "false")


def test_forced_planning_reports_even_a_single_step(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", boom)

    [op] = define(both(mode, f)).ops(planning=True)
    assert (op["op"], op["data"], op["opts"]) == ("StepPlanned", None, {"type": "step.run"})


# --- groups -----------------------------------------------------------------------------------


def test_a_group_runs_each_step_once_and_keeps_the_declared_order(mode: Mode) -> None:
    ran: list[str] = []

    def f(ctx: Any) -> Steps:
        found = yield ctx.group.parallel(
            tuple(
                lambda name=name: ctx.step.run(name, note(ran, name, name))
                for name in ("a", "b", "c")
            )
        )
        after = yield ctx.step.run("after", note(ran, "after", "after"))
        return [*found, after]

    run = define(both(mode, f))
    assert run.finish(order=["c", "a", "b"]) == ["a", "b", "c", "after"]
    assert ran == ["c", "a", "b", "after"]
    assert [status for step, status in run.calls if step == "step"] == [206, 206, 200]


def test_a_group_of_one_runs_its_step_in_the_same_call(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return list((yield ctx.group.parallel((lambda: ctx.step.run("a", lambda: 1),))))

    run = define(both(mode, f))
    assert run.finish() == [1]
    assert [status for _, status in run.calls] == [206, 200]


def test_a_group_of_every_kind_is_reported_in_one_answer(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.group.parallel(
            (
                lambda: ctx.step.run("r", lambda: 1),
                lambda: ctx.step.sleep("s", 1000),
                lambda: ctx.step.wait_for_event("w", event="x/y", timeout=1000),
                lambda: ctx.step.invoke_by_id("i", function_id="g"),
            )
        )

    ops = define(both(mode, f)).ops()
    assert [op["op"] for op in ops] == ["StepPlanned", "Sleep", "WaitForEvent", "InvokeFunction"]


def test_a_race_says_so_on_every_op(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.group.parallel(
            (lambda: ctx.step.run("r", lambda: 1), lambda: ctx.step.sleep("s", 1000)),
            parallel_mode=ParallelMode.RACE,
        )

    ops = define(both(mode, f)).ops()
    assert [op["opts"]["parallelMode"] for op in ops] == ["race", "race"]


def test_steps_after_a_race_are_in_no_race(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.group.parallel(
            (lambda: ctx.step.run("r", lambda: 1), lambda: ctx.step.run("q", lambda: 1)),
            parallel_mode=ParallelMode.RACE,
        )
        yield ctx.step.run("after", lambda: 1)

    run = define(both(mode, f))
    run.finish()
    assert "parallelMode" not in json.loads(run.answers[-2].body)[0]["opts"]


def test_an_error_in_one_branch_drops_nothing_of_the_others(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        try:
            yield ctx.group.parallel(
                (lambda: ctx.step.run("bad", boom), lambda: ctx.step.run("good", lambda: 1))
            )
        except StepError as error:
            return error.message

    run = define(both(mode, f))
    run.max_attempts = 1
    planned = run.ops()
    [failed] = run.ops(planned[0]["id"], planning=True)
    run.memo(failed, {"error": failed["error"]})
    # The bad branch has ended, the good one is open: it is what the server hears of.
    assert [op["displayName"] for op in run.ops(planning=True)] == ["good"]
    [good] = run.ops(planned[1]["id"], planning=True)
    run.memo(good, {"data": 1})
    assert json.loads(run.call().body) == "boom"


def test_groups_nest(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        def inner(name: str) -> Any:
            return ctx.group.parallel(
                (
                    lambda: ctx.step.run(f"{name}1", lambda: f"{name}1"),
                    lambda: ctx.step.run(f"{name}2", lambda: f"{name}2"),
                )
            )

        return (yield ctx.group.parallel((lambda: inner("a"), lambda: inner("b"))))

    run = define(both(mode, f))
    assert len(run.ops()) == 4
    assert run.finish() == [["a1", "a2"], ["b1", "b2"]]


# --- large state ------------------------------------------------------------------------------


def test_steps_outside_the_stack_are_replayed_all_the_same(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return [(yield ctx.step.run("a", boom)), (yield ctx.step.run("b", boom))]

    run = define(both(mode, f))
    run.steps = {hash_id("b"): {"data": 2}, hash_id("a"): {"data": 1}}
    assert run.finish() == [1, 2]


def test_a_batch_gives_all_its_events(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        assert isinstance(ctx.event, Event)
        return [event.data["i"] for event in ctx.events]

    events = [{"name": "a/b", "data": {"i": i}} for i in (2, 3, 1)]
    answer = define(both(mode, f)).call(event=events[0], events=events)
    assert json.loads(answer.body) == [2, 3, 1]
