"""Powertools around functions: what is logged, counted and traced, by the library itself."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from typing import Any

import aws_xray_sdk  # type: ignore[import-untyped]  # ships no types
import pytest
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_xray_sdk.core import xray_recorder as untyped  # type: ignore[import-untyped]  # as above
from aws_xray_sdk.core.lambda_launcher import (  # type: ignore[import-untyped]  # as above
    LambdaContext,
)

from inngest_sdk.drive import drive
from inngest_sdk.endpoint import serve
from inngest_sdk.http import Request
from inngest_sdk.middleware import StepInfo, StepMemos
from inngest_sdk.steps import hash_id
from inngest_serverless import ConfigError, Inngest, MiddlewareSync, Retry, StepOptions
from inngest_serverless.integrations.powertools import Powertools
from tests.sdk.play import FRONT, NOW, Mode, Played, app, both, define
from tests.sdk.test_checkpoint import WHO, Server

Steps = Generator[Any, Any, Any]
xray_recorder: Any = untyped
reset_tracers: Any = Tracer._reset_config
CALL_KEYS = {"inngest_run_id": "01RUN", "inngest_function_id": "shop-f", "inngest_attempt": 0}


class Log:
    """A Powertools logger, and the lines that it has written."""

    def __init__(self, name: str) -> None:
        self._stream = io.StringIO()
        self.logger = Logger(service=name, stream=self._stream, level="INFO")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def keys(self) -> dict[str, dict[str, Any]]:
        """The keys of ours in each line, by its message."""
        return {
            line["message"]: {k: v for k, v in line.items() if k.startswith("inngest_")}
            for line in self.lines()
        }


@pytest.fixture(name="log")
def log_fixture(request: pytest.FixtureRequest) -> Log:
    return Log(request.node.name)


@pytest.fixture(name="metrics")
def metrics_fixture() -> Iterator[Metrics]:
    yield Metrics(namespace="Shop", service="orders")
    Metrics._default_dimensions.clear()


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The metrics that were printed, one dict of names and values a line."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def played(mode: Mode, body: Any, *middleware: Any, **options: Any) -> Played:
    return define(both(mode, body), app(middleware=middleware, **options))


def two_steps(ctx: Any) -> Steps:
    one = yield ctx.step.run("one", lambda: 1)
    return one + (yield ctx.step.run("two", lambda: 2))


# --- Logger -------------------------------------------------------------------------------------


def test_lines_say_what_they_belong_to(mode: Mode, log: Log) -> None:
    def f(ctx: Any) -> Steps:
        ctx.logger.info("before")
        yield ctx.step.run("pay", lambda: ctx.logger.info("inside"))
        ctx.logger.info("after")

    run = played(mode, f, Powertools(logger=log.logger))
    logger: object = run.client.logger
    assert logger is log.logger
    run.finish()
    log.logger.info("outside")
    step = {"inngest_step_id": "pay", "inngest_step_attempt": 0}
    assert log.keys() == {
        "before": CALL_KEYS,
        "inside": CALL_KEYS | step,
        "after": CALL_KEYS,
        "outside": {},
    }
    assert [line["message"] for line in log.lines()] == ["before", "inside", "after", "outside"]


def test_lines_of_steps_side_by_side_each_say_their_own(log: Log) -> None:
    async def work(name: str) -> None:
        log.logger.info(f"{name} begins")
        await asyncio.sleep(0)
        log.logger.info(f"{name} ends")

    async def f(ctx: Any) -> None:
        await asyncio.gather(*(ctx.step.run(name, work, name) for name in ("a", "b")))

    run = define(f, app(middleware=[Powertools(logger=log.logger)]))
    planned = run.ops()
    for op in planned:
        run.ops(op["id"], planning=True)
    steps = {message: keys["inngest_step_id"] for message, keys in log.keys().items()}
    assert steps == {"a begins": "a", "a ends": "a", "b begins": "b", "b ends": "b"}


def test_keys_of_the_app_stay(mode: Mode, log: Log) -> None:
    log.logger.append_keys(tenant="acme")
    played(mode, two_steps, Powertools(logger=log.logger)).finish()
    log.logger.info("outside")
    assert log.lines()[-1]["tenant"] == "acme"


def test_a_failed_step_leaves_no_keys_behind(mode: Mode, log: Log) -> None:
    def broken() -> None:
        raise ValueError("no")

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("pay", broken)

    played(mode, f, Powertools(logger=log.logger)).call()
    log.logger.info("outside")
    assert log.keys()["outside"] == {}


# --- Metrics ------------------------------------------------------------------------------------


def test_what_happens_is_counted(
    mode: Mode, metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    run = played(mode, two_steps, Powertools(metrics=metrics))
    run.finish()
    first, second, third = printed(capsys)
    assert first["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Shop"
    assert first["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["function", "service"]]
    assert (first["function"], first["service"]) == ("shop-f", "orders")
    assert first["ColdStart"] == [1.0]
    assert [len(each["StepDuration"]) for each in (first, second)] == [1, 1]
    assert all(each["StepDuration"][0] >= 0 for each in (first, second))
    assert "ColdStart" not in second
    assert third["RunCompleted"] == [1.0]
    assert not {"RunCompleted", "RunFailed"} & {*first, *second}


def test_steps_of_one_call_are_in_one_line(
    mode: Mode, metrics: Metrics, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    run = played(mode, two_steps, Powertools(metrics=metrics), api_base_url=server.url)
    run.now = time.time()
    assert run.call(ctx=WHO).status == 200
    [line] = printed(capsys)
    assert len(line["StepDuration"]) == 2
    assert line["RunCompleted"] == [1.0]


@pytest.mark.parametrize(("attempt", "name"), [(0, "RunError"), (3, "RunFailed")])
def test_a_run_that_raises_has_failed_when_no_retry_follows(
    mode: Mode,
    metrics: Metrics,
    capsys: pytest.CaptureFixture[str],
    attempt: int,
    name: str,
) -> None:
    def f(ctx: Any) -> Steps:
        raise ValueError("no")
        yield

    played(mode, f, Powertools(metrics=metrics)).call(attempt=attempt)
    [line] = printed(capsys)
    assert {"RunError", "RunFailed"} & {*line} == {name}


def test_each_try_of_a_step_is_measured(
    mode: Mode, metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    tries: list[int] = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("not yet")
        return 7

    def f(ctx: Any) -> Steps:
        yield ctx.step.run(StepOptions("a", retry=Retry(max=1, backoff=0)), flaky)

    run = played(mode, f, Powertools(metrics=metrics))
    run.max_attempts = 1
    run.ops()
    [line] = printed(capsys)
    assert (line["StepError"], len(line["StepDuration"])) == ([1.0], 2)


def test_refused_requests_are_counted(metrics: Metrics, capsys: pytest.CaptureFixture[str]) -> None:
    client = Inngest(app_id="shop", signing_key="abcd", middleware=[Powertools(metrics=metrics)])
    url = "https://app.example/api/inngest?fnId=shop-f"
    drive(serve(client, Request("POST", url), FRONT, now=NOW))
    refused, rejected = (line for line in [*printed(capsys), {}][:2])
    assert (refused["RequestRefused"], refused["SignatureRejected"]) == ([1.0], [1.0])
    assert rejected == {}

    dev = app(middleware=[Powertools(metrics=metrics)])
    drive(serve(dev, Request("POST", url), FRONT, now=NOW))
    [line] = printed(capsys)
    assert line["RequestRefused"] == [1.0] and "SignatureRejected" not in line


def test_what_the_app_collects_itself_is_left_alone(
    mode: Mode, metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.set_default_dimensions(stage="test")

    def f(ctx: Any) -> Steps:
        metrics.add_metric("Orders", "Count", 1)
        yield ctx.step.run("one", lambda: 1)

    played(mode, f, Powertools(metrics=metrics)).call()
    [ours] = printed(capsys)
    assert "Orders" not in ours and ours["stage"] == "test"
    metrics.flush_metrics()
    [theirs] = printed(capsys)
    assert theirs["Orders"] == [1.0] and "function" not in theirs


def test_metrics_need_a_namespace() -> None:
    with pytest.raises(
        ConfigError, match=r"Metrics\(namespace=\.\.\.\), or set POWERTOOLS_METRICS"
    ):
        Powertools(metrics=Metrics(service="orders"))


# --- Tracer -------------------------------------------------------------------------------------


class Emitter:
    """Takes what would go to the X-Ray daemon."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_entity(self, entity: Any) -> None:
        self.sent.append(json.loads(entity.serialize()))

    def set_daemon_address(self, address: str) -> None:
        pass


@pytest.fixture(name="traced")
def traced_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tracer, Emitter]]:
    """A tracer as on Lambda, within a sampled call."""
    root = "Root=1-5e645f3e-1dfad076a177c5ccc5de12f5;Parent=03fb4d1c2b5f6a7e;Sampled=1"
    monkeypatch.setenv("LAMBDA_TASK_ROOT", "/var/task")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", root)
    aws_xray_sdk.global_sdk_config.set_sdk_enabled(True)
    kept, daemon, emitter = xray_recorder.context, xray_recorder.emitter, Emitter()
    daemon._socket.close()  # it has no other way to be closed
    xray_recorder.configure(context=LambdaContext(), emitter=emitter, streaming_threshold=0)
    yield Tracer(service="orders", auto_patch=False), emitter
    xray_recorder.configure(context=kept, emitter=daemon)
    reset_tracers()


def named(emitter: Emitter) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in emitter.sent}


def test_each_call_has_a_subsegment_and_each_step_that_runs(
    mode: Mode, traced: tuple[Tracer, Emitter]
) -> None:
    tracer, emitter = traced
    assert played(mode, two_steps, Powertools(tracer=tracer)).finish() == 3
    step, call, *_ = emitter.sent
    assert [each["name"] for each in emitter.sent] == [
        *("## step one", "## shop-f"),
        *("## step two", "## shop-f"),
        "## shop-f",
    ]
    assert step["parent_id"] == call["id"]
    assert step["annotations"] == {"inngest_step_id": "one"}
    assert call["annotations"] == {"inngest_run_id": "01RUN"}
    assert call["parent_id"] == "03fb4d1c2b5f6a7e"


def test_subsegments_of_the_app_are_children(traced: tuple[Tracer, Emitter]) -> None:
    tracer, emitter = traced

    def work() -> None:
        with tracer.provider.in_subsegment("query"):
            pass

    def f(ctx: Any) -> None:
        ctx.step.run("one", work)

    define(f, app(middleware=[Powertools(tracer=tracer)])).ops()
    found = named(emitter)
    assert found["query"]["parent_id"] == found["## step one"]["id"]


def test_steps_of_an_async_function_are_children_of_the_call(
    traced: tuple[Tracer, Emitter],
) -> None:
    tracer, emitter = traced
    made = Powertools(tracer=tracer)
    middleware = made(app(), None)
    assert isinstance(middleware, MiddlewareSync)

    async def f(ctx: Any) -> None:
        # Another call's hooks, as those of steps that run side by side come: a, b, a, b.
        middleware.transform_input(ctx, None, StepMemos({}))
        a, b = (StepInfo(name, 0, name, "step.run", 0, hash_id(name)) for name in ("a", "b"))
        for hook in (middleware.on_step_start, lambda step: middleware.on_step_complete(step, 1)):
            hook(a)
            hook(b)
        middleware.before_response()

    define(f, app()).call()
    a, b, call = emitter.sent
    assert [a["name"], b["name"], call["name"]] == ["## step a", "## step b", "## shop-f"]
    assert a["parent_id"] == b["parent_id"] == call["id"]


def test_a_subsegment_has_the_error_of_its_step(mode: Mode, traced: tuple[Tracer, Emitter]) -> None:
    tracer, emitter = traced

    def broken() -> None:
        raise ValueError("kaboom")

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", broken)

    played(mode, f, Powertools(tracer=tracer)).call()
    step = named(emitter)["## step bad"]
    assert step["fault"] is True
    assert step["cause"]["exceptions"][0]["message"] == "kaboom"


def test_the_subsegment_of_a_call_has_the_functions_error(
    mode: Mode, traced: tuple[Tracer, Emitter]
) -> None:
    tracer, emitter = traced

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", lambda: None)

    run = played(mode, f, Powertools(tracer=tracer))
    run.memo({"id": hash_id("bad")}, {"error": {"name": "E", "message": "kaboom", "stack": ""}})
    run.call()
    assert named(emitter)["## shop-f"]["cause"]["exceptions"][0]["message"] == "kaboom"


def test_off_lambda_nothing_is_traced(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDA_TASK_ROOT", raising=False)
    tracer = Tracer(service="orders", auto_patch=False)
    try:
        assert tracer.disabled
        assert played(mode, two_steps, Powertools(tracer=tracer)).finish() == 3
    finally:
        aws_xray_sdk.global_sdk_config.set_sdk_enabled(True)
        reset_tracers()


# --- all of them --------------------------------------------------------------------------------


def test_a_part_that_breaks_is_logged_and_fails_no_function(
    mode: Mode, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    class Renaming(MiddlewareSync):
        def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
            provider: Any = metrics.provider
            provider.namespace = None

    chain = [Renaming, Powertools(metrics=metrics)]
    assert played(mode, two_steps, *chain).finish() == 3
    assert "Powertools failed in before_response" in caplog.text


def test_a_hook_for_refused_requests_that_raises_changes_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(MiddlewareSync):
        @staticmethod
        def on_refused(client: Any, error: Exception) -> None:
            raise KeyError("no")

    client = Inngest(app_id="shop", signing_key="abcd", middleware=[Broken])
    answer = drive(serve(client, Request("POST", "https://app.example/x"), FRONT, now=NOW))
    assert answer.status == 401
    assert "an on_refused hook raised" in caplog.text


def test_nothing_of_the_library_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, inngest_serverless.integrations.powertools as ours\n"
        "ours.Powertools()\n"
        "print([name for name in sys.modules if 'aws_' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
