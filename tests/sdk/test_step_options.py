"""Steps with a name, retries, a timeout of their own, and steps that run at most once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from typing import Any

import pytest

from inngest_sdk.steps import hash_id
from inngest_serverless import Retry, StepError, StepOptions
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
