"""Spans for calls and for the steps that run in them."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Generator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inngest_sdk.drive import drive
from inngest_sdk.endpoint import serve
from inngest_sdk.http import Request, dumps
from inngest_sdk.steps import hash_id
from inngest_serverless import MiddlewareSync, Retry, StepOptions
from inngest_serverless.integrations.opentelemetry import TracingMiddleware
from tests.sdk.play import FRONT, NOW, Mode, Played, app, both, define
from tests.sdk.test_checkpoint import WHO, Server

Steps = Generator[Any, Any, Any]
TRACE, SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def context_of(span: ReadableSpan) -> trace.SpanContext:
    found: trace.SpanContext | None = span.context
    assert found is not None
    return found


class Tracing:
    """A provider of spans, and what it has exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.middleware = TracingMiddleware.factory(tracer_provider=self.provider)
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        [span] = [each for each in self.spans if each.name == name]
        return span

    def tree(self) -> list[str]:
        """Each span with its parent's name, in the order in which they ended."""
        names = {context_of(each).span_id: each.name for each in self.spans}
        return [
            f"{names.get(each.parent.span_id, '?') if each.parent else ''} > {each.name}"
            for each in self.spans
        ]


@pytest.fixture
def tracing() -> Tracing:
    return Tracing()


def played(mode: Mode, body: Any, *middleware: Any, **options: Any) -> Played:
    return define(both(mode, body), app(middleware=middleware, **options))


def two_steps(ctx: Any) -> Steps:
    one = yield ctx.step.run("one", lambda: 1)
    return one + (yield ctx.step.run("two", lambda: 2))


CALL = "inngest.function shop-f"


def test_each_call_has_a_span_and_each_step_that_runs(mode: Mode, tracing: Tracing) -> None:
    assert played(mode, two_steps, tracing.middleware).finish() == 3
    assert tracing.tree() == [
        *(f"{CALL} > inngest.step one", f" > {CALL}"),
        *(f"{CALL} > inngest.step two", f" > {CALL}"),
        f" > {CALL}",
    ]
    assert all(span.status.is_unset for span in tracing.spans)


def test_steps_of_one_call_are_in_one_span(mode: Mode, tracing: Tracing, server: Server) -> None:
    run = played(mode, two_steps, tracing.middleware, api_base_url=server.url)
    run.now = time.time()
    assert run.call(ctx=WHO).status == 200
    assert tracing.tree() == [
        *(f"{CALL} > inngest.step one", f"{CALL} > inngest.step two", f" > {CALL}")
    ]
    assert dict(tracing.named(CALL).attributes or {})["inngest.checkpoints"] is True


def test_spans_say_what_ran(mode: Mode, tracing: Tracing) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("same", lambda: 1)
        yield ctx.step.run("same", lambda: 2)

    run = played(mode, f, tracing.middleware)
    run.memo({"id": hash_id("same")}, {"data": 1})
    events: list[Any] = [{"name": name, "data": {}} for name in ("b", "a", "b")]
    run.call(attempt=2, event=events[0], events=events)
    assert dict(tracing.named(CALL).attributes or {}) == {
        "inngest.app.id": "shop",
        "inngest.attempt": 2,
        "inngest.checkpoints": False,
        "inngest.event.names": ("a", "b"),
        "inngest.function.id": "shop-f",
        "inngest.run.id": "01RUN",
    }
    assert dict(tracing.named("inngest.step same").attributes or {}) == {
        "inngest.run.id": "01RUN",
        "inngest.step.attempt": 2,
        "inngest.step.id": "same",
        "inngest.step.index": 1,
        "inngest.step.kind": "step.run",
    }


def test_each_try_of_a_step_has_a_span_and_the_failed_ones_their_error(
    mode: Mode, tracing: Tracing
) -> None:
    tries: list[int] = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 2:
            raise ValueError("not yet")
        return 7

    def f(ctx: Any) -> Steps:
        yield ctx.step.run(StepOptions("a", retry=Retry(max=1, backoff=0)), flaky)

    run = played(mode, f, tracing.middleware)
    run.max_attempts = 1
    run.ops()
    first, second, call = tracing.spans
    assert [first.name, second.name, call.name] == ["inngest.step a", "inngest.step a", CALL]
    assert (first.status.status_code, first.status.description) == (
        trace.StatusCode.ERROR,
        "not yet",
    )
    assert (first.attributes or {})["error.type"] == "ValueError"
    assert [event.name for event in first.events] == ["exception"]
    assert second.status.is_unset and call.status.is_unset


def test_the_span_of_a_call_has_the_functions_error(mode: Mode, tracing: Tracing) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", lambda: None)

    run = played(mode, f, tracing.middleware)
    error = {"name": "KaboomError", "message": "kaboom", "stack": ""}
    run.memo({"id": hash_id("bad")}, {"error": error})
    run.call()
    [call] = tracing.spans
    assert (call.status.description, (call.attributes or {})["error.type"]) == (
        "kaboom",
        "KaboomError",
    )


def test_spans_of_the_app_are_children_of_the_step_or_call_that_they_are_in(
    mode: Mode, tracing: Tracing
) -> None:
    def work() -> None:
        with tracing.tracer.start_as_current_span("query"):
            pass

    def f(ctx: Any) -> Steps:
        with tracing.tracer.start_as_current_span("before"):
            pass
        yield ctx.step.run(StepOptions("timed", timeout=60_000), work)
        yield ctx.step.run("plain", work)

    run = played(mode, f, tracing.middleware)
    run.memo(run.ops()[0], {"data": None})
    run.ops()
    assert set(tracing.tree()) == {
        f"{CALL} > before",
        *("inngest.step timed > query", f"{CALL} > inngest.step timed"),
        *("inngest.step plain > query", f"{CALL} > inngest.step plain"),
        f" > {CALL}",
    }


def test_a_step_is_the_child_of_a_span_that_the_function_has_made_around_it(
    mode: Mode, tracing: Tracing
) -> None:
    def sync(ctx: Any) -> None:
        with tracing.tracer.start_as_current_span("around"):
            ctx.step.run("inner", lambda: None)

    async def not_sync(ctx: Any) -> None:
        with tracing.tracer.start_as_current_span("around"):
            await ctx.step.run("inner", lambda: None)

    handler = sync if mode == "sync" else not_sync
    define(handler, app(middleware=[tracing.middleware])).ops()
    assert tracing.tree() == ["around > inngest.step inner", f"{CALL} > around", f" > {CALL}"]


def test_steps_side_by_side_each_have_their_own_children(tracing: Tracing) -> None:
    async def work(name: str) -> str:
        with tracing.tracer.start_as_current_span(f"query {name}"):
            await asyncio.sleep(0)
        return name

    async def branch(ctx: Any, name: str) -> Any:
        found = await ctx.step.run(name, work, name)
        return await ctx.step.run(f"{name}2", work, found + "2")

    async def f(ctx: Any) -> Any:
        return list(await asyncio.gather(branch(ctx, "a"), branch(ctx, "b")))

    assert define(f, app(middleware=[tracing.middleware])).finish() == ["a2", "b2"]
    steps = [line for line in tracing.tree() if not line.startswith((CALL, " >"))]
    assert sorted(steps) == [f"inngest.step {n} > query {n}" for n in ("a", "a2", "b", "b2")]


def test_nothing_is_current_when_a_call_has_ended(mode: Mode, tracing: Tracing) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1 / 0)

    played(mode, f, tracing.middleware).ops()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_the_span_of_a_call_is_current_no_more_when_user_code_has_ended(
    mode: Mode, tracing: Tracing
) -> None:
    current: list[trace.Span] = []

    class Looking(MiddlewareSync):
        def transform_output(self, result: Any) -> None:
            current.append(trace.get_current_span())

    played(mode, lambda ctx: iter(()), tracing.middleware, Looking).call()
    assert current == [trace.INVALID_SPAN]


def traced_call(run: Played, **headers: str) -> None:
    event = {"name": "a/b", "data": {}}
    body = {"ctx": {"run_id": "01RUN", "attempt": 0}, "event": event, "steps": {}}
    url = "http://app/api/inngest?fnId=shop-f&stepId=step"
    drive(serve(run.client, Request("POST", url, headers, dumps(body)), FRONT, now=NOW))


def test_a_call_is_the_child_of_the_servers_span(mode: Mode, tracing: Tracing) -> None:
    header = f"00-{TRACE}-{SENDER}-01"
    run = played(mode, two_steps, tracing.middleware)
    traced_call(run, traceparent=header, tracestate="inngest=1")
    step, call = tracing.spans
    assert call.parent is not None and call.kind is trace.SpanKind.SERVER
    assert f"{call.parent.trace_id:032x}-{call.parent.span_id:016x}" == f"{TRACE}-{SENDER}"
    assert call.parent.trace_state == {"inngest": "1"}
    assert context_of(step).trace_id == context_of(call).trace_id


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{SENDER}-01"])
def test_a_call_without_a_trace_begins_one(tracing: Tracing, header: str) -> None:
    traced_call(played("sync", two_steps, tracing.middleware), traceparent=header)
    assert tracing.named(CALL).parent is None
    assert tracing.named(CALL).kind is trace.SpanKind.SERVER


def test_what_the_server_does_not_sample_is_not_recorded(mode: Mode, tracing: Tracing) -> None:
    run = played(mode, two_steps, tracing.middleware)
    traced_call(run, traceparent=f"00-{TRACE}-{SENDER}-00")
    assert tracing.spans == ()


@pytest.mark.parametrize("same", [True, False])
def test_a_span_of_the_platform_is_the_parent_in_the_servers_trace_else_linked(
    mode: Mode, tracing: Tracing, same: bool
) -> None:
    run = played(mode, two_steps, tracing.middleware)
    with tracing.tracer.start_as_current_span("POST /api/inngest") as request:
        here = request.get_span_context()
        trace_id = f"{here.trace_id:032x}" if same else TRACE
        traced_call(run, traceparent=f"00-{trace_id}-{SENDER}-01")
    call = tracing.named(CALL)
    assert call.parent is not None
    assert call.parent.span_id == (here.span_id if same else int(SENDER, 16))
    assert [link.context.span_id for link in call.links] == ([] if same else [here.span_id])


class Broken(MiddlewareSync):
    """Raises in the hook that a test names."""

    hook = ""

    def _maybe(self, hook: str) -> None:
        if type(self).hook == hook:
            raise ValueError(f"{hook} is broken")

    def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
        self._maybe("transform_input")

    def transform_step_input(self, step: Any, given: Any) -> None:
        self._maybe("transform_step_input")

    def on_step_complete(self, step: Any, output: Any) -> None:
        self._maybe("on_step_complete")

    def after_execution(self) -> None:
        self._maybe("after_execution")


class Refusing(Broken):
    """One that transforms results, which it refuses to."""

    reversible = True

    def transform_output(self, result: Any) -> None:
        self._maybe("transform_output")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "hook",
    [
        *("transform_input", "transform_step_input", "on_step_complete"),
        *("transform_output", "after_execution"),
    ],
)
def test_a_broken_hook_of_another_middleware_leaves_no_span_open(
    mode: Mode, tracing: Tracing, hook: str, first: bool
) -> None:
    broken = type("ThisOne", (Refusing,), {"hook": hook})
    chain = [tracing.middleware, broken]
    run = played(mode, two_steps, *(chain if first else reversed(chain)))
    run.call()
    gc.collect()  # the error holds on to its call
    began = not (hook == "transform_input" and not first)
    assert [span.name for span in tracing.spans if span.name == CALL] == [CALL] * began
    if hook in ("transform_output", "on_step_complete") and first:
        assert tracing.named("inngest.step one").status.description == f"{hook} is broken"
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_without_an_sdk_the_middleware_does_nothing(mode: Mode) -> None:
    run = played(mode, two_steps, TracingMiddleware)
    assert run.finish() == 3
