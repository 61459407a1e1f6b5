"""What `ctx` gives besides steps: time, chance, keys and a logger that fit a replay."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import Any

import pytest

from inngest_sdk.replay_log import ReplayLogger
from inngest_sdk.steps import hash_id
from inngest_serverless import ReplayFilter
from tests.sdk.play import Mode, app, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def test_the_time_is_a_step_and_stays_what_it_was(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        first = yield ctx.now()
        second = yield ctx.now()
        yield ctx.step.sleep("nap", "1h")
        return [first.isoformat(), second.isoformat(), first <= second, str(first.tzinfo)]

    run = define(both(mode, f))
    seen = []
    for _ in range(2):
        [op] = run.ops()
        seen.append(op["data"])
        run.memo(op, {"data": op["data"]})
    run.memo(run.ops()[0], None)
    assert json.loads(run.call().body) == [*seen, True, "UTC"]


def test_the_time_in_a_step_is_the_clocks(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        if mode == "sync":
            return (yield ctx.step.run("a", lambda: ctx.now().year))

        async def year() -> int:
            found: int = (await ctx.now()).year
            return found

        return (yield ctx.step.run("a", year))

    assert define(both(mode, f)).ops()[0]["data"] >= 2026


def test_chance_is_the_same_on_every_replay(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        before = ctx.random.random()
        inside = yield ctx.step.run("a", lambda: ctx.random.random())
        return [before, inside, ctx.random.randint(1, 10**9), str(ctx.uuid4()), str(ctx.uuid4())]

    ends = []
    for _ in range(2):
        ends.append(define(both(mode, f)).finish())
    assert ends[0] == ends[1]
    assert len(set(ends[0])) == 5


def test_two_runs_have_chances_of_their_own(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return str(ctx.uuid4())

    run = define(both(mode, f))
    assert run.call().body != run.call(ctx={"run_id": "02RUN"}).body


def test_an_idempotency_key_belongs_to_a_step_and_all_its_attempts(mode: Mode) -> None:
    keys: list[str] = []

    def charge(ctx: Any) -> None:
        keys.append(ctx.idempotency_key)
        raise ValueError("declined")

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("charge", charge, ctx)

    run = define(both(mode, f))
    run.ops(attempt=0)
    run.ops(attempt=1)
    assert keys == [f"01RUN-{hash_id('charge')}"] * 2


def test_there_is_no_idempotency_key_outside_of_steps(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return ctx.idempotency_key

    answer = define(both(mode, f)).call()
    assert answer.status == 500
    assert "read it inside the function" in json.loads(answer.body)["message"]


def test_what_the_context_says_of_the_call(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return [ctx.function_id, ctx.run_id, ctx.attempt, ctx.max_attempts]

    assert define(both(mode, f)).finish() == ["shop-f", "01RUN", 0, 4]


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def three_lines(ctx: Any) -> Steps:
    ctx.logger.info("start")
    yield ctx.step.run("one", lambda: ctx.logger.info("in one"))
    ctx.logger.info("between %d and %d", 1, 2)
    yield ctx.step.run("two", lambda: ctx.logger.info("in two"))
    ctx.logger.info("end")


def test_each_line_of_a_run_is_logged_once(mode: Mode) -> None:
    heard, logger = Lines(), logging.Logger("app")
    logger.addHandler(heard)
    define(both(mode, three_lines), app(logger=logger)).finish()
    assert heard.lines == ["start", "in one", "between 1 and 2", "in two", "end"]


def test_on_the_way_to_a_targeted_step_nothing_is_logged(mode: Mode) -> None:
    heard, logger = Lines(), logging.Logger("app")
    logger.addHandler(heard)
    run = define(both(mode, three_lines), app(logger=logger))
    run.ops(hash_id("one"))
    assert heard.lines == ["in one"]


def test_loggers_of_the_program_can_be_silent_too(mode: Mode) -> None:
    heard, logger = Lines(), logging.Logger("shop.mail")
    heard.addFilter(ReplayFilter())
    logger.addHandler(heard)

    def f(ctx: Any) -> Steps:
        logger.info("start")
        yield ctx.step.run("one", lambda: logger.info("in one"))
        logger.info("end")

    logger.info("outside")
    define(both(mode, f)).finish()
    assert heard.lines == ["outside", "start", "in one", "end"]


class Structured:
    """A logger as structlog's are: bound to values, called with more of them."""

    def __init__(self, said: list[Any], **bound: Any) -> None:
        self._said, self._bound = said, bound

    def bind(self, **more: Any) -> Structured:
        return Structured(self._said, **self._bound, **more)

    def info(self, event: str, **more: Any) -> None:
        self._said.append((event, {**self._bound, **more}))


def test_a_structured_logger_keeps_what_is_bound_and_is_silent_as_well() -> None:
    said: list[Any] = []
    replaying = False
    bound = ReplayLogger(Structured(said), lambda: replaying).bind(order=7)
    bound.info("heard", item=1)
    replaying = True
    bound.info("not heard")
    assert said == [("heard", {"order": 7, "item": 1})]


def test_a_silent_logger_is_enabled_for_nothing() -> None:
    replaying = True
    logger = ReplayLogger(logging.Logger("app", logging.INFO), lambda: replaying)
    assert not logger.isEnabledFor(logging.INFO)
    replaying = False
    assert logger.isEnabledFor(logging.INFO)
    assert not logger.isEnabledFor(logging.DEBUG)
    assert logger.name == "app"
