"""Steps with a name, retries, a timeout of their own, and steps that run at most once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from typing import Any

import pytest

from inngest_sdk.steps import hash_id
from inngest_serverless import Retry, StepError, StepOptions, step
from tests.sdk.play import Mode, Played, both, define

Steps = Generator[Any, Any, Any]


class CardDeclined(Exception):
    pass


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


class Flaky:
    """Fails so many times, then gives how often it was called."""

    def __init__(self, failures: int, error: type[Exception] = ValueError) -> None:
        self.calls = 0
        self._failures, self._error = failures, error

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error(f"no. {self.calls}")
        return self.calls


def of(mode: Mode, options: StepOptions, call: Any) -> Played:
    def f(ctx: Any) -> Steps:
        try:
            return (yield ctx.step.run(options, call))
        except StepError as error:
            return f"gave up: {error.message}"

    return define(both(mode, f))


def test_people_read_the_name_and_the_server_knows_the_id(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep(StepOptions("nap", name="Have a nap"), "1s")

    [op] = define(both(mode, f)).ops()
    assert op["displayName"] == "Have a nap"
    assert op["userland"] == {"id": "nap"}


@pytest.mark.parametrize("planning", [False, True])
def test_the_name_is_on_planned_and_on_run_steps(mode: Mode, planning: bool) -> None:
    run = of(mode, StepOptions("a", name="A!"), lambda: 1)
    [op] = run.ops(planning=planning)
    assert op["displayName"] == "A!"


def test_a_policy_ends_a_step_before_the_function_would(mode: Mode) -> None:
    flaky = Flaky(9)
    run = of(mode, StepOptions("a", retry=Retry(max=1)), flaky)
    assert run.ops(attempt=0)[0]["op"] == "StepError"
    [op] = run.ops(attempt=1)
    assert op["op"] == "StepFailed"
    run.memo(op, {"error": op["error"]})
    assert json.loads(run.call().body) == "gave up: no. 2"


def test_a_policy_goes_on_where_the_function_would_end(mode: Mode) -> None:
    flaky = Flaky(6)
    run = of(mode, StepOptions("a", retry=Retry(max=7, backoff=0)), flaky)  # 8 tries, 4 attempts
    for attempt in range(3):
        assert run.ops(attempt=attempt)[0]["op"] == "StepError"
        assert flaky.calls == 2 * (attempt + 1)
    assert run.ops(attempt=3)[0]["data"] == 7


def test_when_all_tries_are_used_up_the_step_has_failed(mode: Mode) -> None:
    flaky = Flaky(99)
    run = of(mode, StepOptions("a", retry=Retry(max=2, backoff=0)), flaky)
    run.max_attempts = 1
    assert run.ops()[0]["op"] == "StepFailed"
    assert flaky.calls == 3


def test_no_other_try_begins_when_the_deadline_is_near(mode: Mode) -> None:
    flaky = Flaky(99)
    run = of(mode, StepOptions("a", retry=Retry(max=20, backoff="10s")), flaky)
    run.deadline = 0.0  # long past
    assert run.ops()[0]["op"] == "StepError"
    assert flaky.calls == 1


def test_some_errors_are_final_at_once(mode: Mode) -> None:
    flaky = Flaky(9, CardDeclined)
    run = of(mode, StepOptions("a", retry=Retry(max=50, no_retry=[CardDeclined])), flaky)
    assert run.ops()[0]["op"] == "StepFailed"
    assert flaky.calls == 1


def test_the_server_is_told_how_long_to_wait(mode: Mode) -> None:
    run = of(mode, StepOptions("a", retry=Retry(max=3, backoff="2s")), Flaky(9))
    waits = []
    for attempt in range(3):
        waits.append(run.call(attempt=attempt).headers["retry-after"])
    assert waits == ["2", "4", "8"]
    assert "retry-after" not in run.call(attempt=3).headers


def test_a_step_that_takes_too_long_fails_and_is_tried_again(mode: Mode) -> None:
    released = threading.Event()

    async def slow() -> None:
        await asyncio.Event().wait()

    run = of(mode, StepOptions("a", timeout="20ms"), slow if mode == "async" else released.wait)
    answer = run.call()
    released.set()
    [op] = json.loads(answer.body)
    assert op["op"] == "StepError"
    assert op["error"]["name"] == "StepTimeoutError"
    assert "longer than the 0.02 seconds" in op["error"]["message"]
    assert answer.headers["x-inngest-no-retry"] == "false"


def test_a_step_in_time_is_not_disturbed_by_its_timeout(mode: Mode) -> None:
    async def quick() -> str:
        await asyncio.sleep(0)
        return "done"

    call = quick if mode == "async" else lambda: "done"
    assert of(mode, StepOptions("a", timeout="1m"), call).ops()[0]["data"] == "done"


def test_a_blocking_callable_of_an_async_function_is_bounded_too() -> None:
    released = threading.Event()
    [op] = of("async", StepOptions("a", timeout="20ms"), released.wait).ops()
    released.set()
    assert op["error"]["name"] == "StepTimeoutError"


def test_a_timeout_of_the_callables_own_keeps_its_name() -> None:
    async def own() -> None:
        raise asyncio.TimeoutError("mine")

    [op] = of("async", StepOptions("a", timeout="1m"), own).ops()
    assert op["error"]["name"] == "TimeoutError"
    assert op["error"]["message"] == "mine"


def test_a_step_at_most_once_gets_a_call_of_its_own(mode: Mode) -> None:
    flaky = Flaky(0)
    run = of(mode, StepOptions("a", at_most_once=True), flaky)
    [planned] = run.ops()
    assert planned["op"] == "StepPlanned"
    assert flaky.calls == 0
    [op] = run.ops(planned["id"])
    assert op["op"] == "StepRun"
    run.memo(op, {"data": op["data"]})
    assert json.loads(run.call().body) == 1


def test_a_step_at_most_once_is_not_begun_again(mode: Mode) -> None:
    flaky = Flaky(0)
    run = of(mode, StepOptions("a", at_most_once=True), flaky)
    [planned] = run.ops()
    [op] = run.ops(planned["id"], attempt=1)
    assert op["op"] == "StepFailed"
    assert op["error"]["name"] == "AtMostOnceError"
    assert flaky.calls == 0


def test_a_step_at_most_once_that_fails_is_not_tried_again(mode: Mode) -> None:
    flaky = Flaky(9)
    run = of(mode, StepOptions("a", at_most_once=True), flaky)
    [planned] = run.ops()
    assert run.ops(planned["id"])[0]["op"] == "StepFailed"
    assert flaky.calls == 1


def test_policies_are_for_steps_that_run_code(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep(StepOptions("nap", retry=Retry(max=1)), "1s")

    answer = define(both(mode, f)).call()
    assert answer.status == 500
    assert "step 'nap' has a retry" in json.loads(answer.body)["message"]


def test_a_run_has_at_most_a_thousand_steps(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        for number in range(1001):
            yield ctx.step.run("a", str, number)

    run = define(both(mode, f))
    names = ["a", *(f"a:{number}" for number in range(1, 1001))]
    for name in names[:999]:
        run.memo({"id": hash_id(name)}, {"data": 1})
    assert run.ops()[0]["op"] == "StepRun"
    run.memo({"id": hash_id(names[999])}, {"data": 1})
    answer = run.call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "number 1,001 of this run; the limit is 1,000" in json.loads(answer.body)["message"]


@step(at_most_once=True)
def once(calls: list[int]) -> None:
    calls.append(1)
    raise ValueError("no")


@step(at_most_once=True)
async def once_async(calls: list[int]) -> None:
    calls.append(1)
    raise ValueError("no")


@pytest.mark.parametrize("tool", ["run", "map", "saga"])
def test_tools_keep_to_what_a_decorated_step_says(mode: Mode, tool: str) -> None:
    calls: list[int] = []
    decorated = once if mode == "sync" else once_async

    async def in_saga(ctx: Any) -> None:
        async with ctx.step.saga("s") as saga:
            await saga.run("pay", decorated, calls, undo=print)

    def in_saga_sync(ctx: Any) -> None:
        with ctx.step.saga("s") as saga:
            saga.run("pay", decorated, calls, undo=print)

    def f(ctx: Any) -> Steps:
        if tool == "map":
            return (yield ctx.step.map("pay", decorated, [calls]))
        yield ctx.step.run("pay", decorated, calls)

    body = in_saga if mode == "async" else in_saga_sync
    run = define(body if tool == "saga" else both(mode, f))
    [planned] = run.ops()
    assert planned["op"] == "StepPlanned"
    assert run.ops(planned["id"])[0]["op"] == "StepFailed"
    assert calls == [1]


def test_options_at_the_call_go_before_those_of_the_decorated_step(mode: Mode) -> None:
    decorated = step(name="Theirs", retry=Retry(max=9))(Flaky(9).__call__)
    run = of(mode, StepOptions("a", retry=Retry(max=0)), decorated)
    [op] = run.ops()
    assert (op["op"], op["displayName"]) == ("StepFailed", "Theirs")


def test_each_try_in_a_call_draws_the_same(mode: Mode) -> None:
    drawn: list[float] = []

    def f(ctx: Any) -> Steps:
        def draw() -> None:
            drawn.append(ctx.random.random())
            raise ValueError("again")

        yield ctx.step.run(StepOptions("a", retry=Retry(max=2, backoff=0)), draw)

    run = define(both(mode, f))
    run.max_attempts = 1
    run.ops()
    assert len(drawn) == 3
    assert len(set(drawn)) == 1


def test_an_error_of_a_policy_is_an_error_of_the_call(mode: Mode) -> None:
    def backoff(retry: int) -> Any:
        return "soon"

    run = of(mode, StepOptions("a", retry=Retry(max=2, backoff=backoff)), Flaky(9))
    answer = run.call()
    assert answer.status == 500
    assert "'soon' is not a duration" in json.loads(answer.body)["message"]


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.run("x", coroutine()), "step 'x' is given what a function returned"),
        (lambda s: s.run("x", 5), "step 'x' is given 5; it takes a function"),
        (lambda s: s.run(5, print), "the id of a step is 5; it takes a text"),
        (lambda s: s.run(StepOptions("x", retry=3), print), "retry of step 'x' is 3"),  # type: ignore[arg-type] # what is refused
        (lambda s: s.sleep_until("x", "2030-01-01"), "step 'x' sleeps until '2030-01-01'"),
        (lambda s: s.invoke("x", function="f"), "step.invoke is given 'f'; it takes a function"),
        (lambda s: s.ai.infer("x", adapter="openai", body={}), "step 'x': the adapter is 'openai'"),
        (lambda s: s.realtime.publish("x", "c", 1), "step 'x' publishes to 'c'; it takes a Topic"),
        (lambda s: s.map("x", str, 5), "step.map 'x' is given 5; it takes the items"),
        (lambda s: s.send_event("x", {"name": "a/b"}), "event 0 is a dict, not an Event"),
    ],
)
def test_what_is_no_argument_of_a_step_is_named(mode: Mode, ask: Any, message: str) -> None:
    def f(ctx: Any) -> Steps:
        yield ask(ctx.step)

    answer = define(both(mode, f)).call()
    assert message in answer.body.decode()


def test_a_step_on_another_thread_is_refused_at_once() -> None:
    async def f(ctx: Any) -> None:
        await asyncio.to_thread(lambda: asyncio.run(ctx.step.run("x", str)))

    def g(ctx: Any) -> None:
        failed: list[BaseException] = []

        def work() -> None:
            try:
                ctx.step.run("x", str)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        raise failed[0]

    for handler in (f, g):
        answer = define(handler).call()
        assert json.loads(answer.body)["name"] == "StepElsewhereError"


def test_a_function_that_failed_is_not_blamed_for_steps_that_it_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def f(ctx: Any) -> None:
        waiting = asyncio.ensure_future(ctx.step.run("x", str))
        await asyncio.sleep(0)
        waiting.done()
        raise ValueError("no")

    assert define(f).call().status == 500
    assert "without waiting" not in caplog.text
