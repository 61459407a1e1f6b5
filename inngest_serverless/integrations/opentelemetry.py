"""Middleware that traces: a span for each call of a function, and one for each step that runs.

The call's span belongs to the trace that the Inngest server names in `traceparent`, so the calls of
one run are one trace. A step whose result is known does not run, and has no span. It needs
`opentelemetry-api`; what becomes of the spans is up to the SDK that the app has set up, and without
one they are not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from typing import Any, ClassVar

from inngest_sdk import wire
from inngest_sdk.context import Context, ContextSync
from inngest_sdk.errors import ConfigError, StepError
from inngest_sdk.function import Function
from inngest_sdk.middleware import (
    MiddlewareSync,
    StepInfo,
    StepMemos,
    TransformOutputResult,
    UninitializedMiddleware,
)

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.util.types import Attributes
except ImportError:
    raise ConfigError(
        "TracingMiddleware needs opentelemetry-api: pip install 'inngest-serverless[opentelemetry]'"
    ) from None


class TracingMiddleware(MiddlewareSync):
    """Spans for calls and steps; give it first, so that its spans hold what the others do. For
    sync and async functions.

        client = Inngest(app_id="shop", middleware=[TracingMiddleware])

    The span of a step is the current one in the step's code, that of the call in the code around:
    spans that are made there are their children.
    """

    # So that it hears of a step's result when the step has run; it changes none.
    reversible: ClassVar[bool] = True

    def __init__(
        self,
        client: Any,
        raw_request: object,
        *,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        super().__init__(client, raw_request)
        self._tracer = _tracer(tracer_provider or trace.get_tracer_provider())
        self._call: _Current | None = None
        self._step: _Current | None = None

    @classmethod
    def factory(
        cls, *, tracer_provider: trace.TracerProvider | None = None
    ) -> UninitializedMiddleware:
        """The middleware with another provider than the global one."""

        def make(client: Any, raw_request: object) -> TracingMiddleware:
            return cls(client, raw_request, tracer_provider=tracer_provider)

        return make

    def transform_input(
        self, ctx: Context[Any] | ContextSync[Any], function: Function[Any], steps: StepMemos
    ) -> None:
        """Begin the call's span."""
        if self._tracer is None:
            return
        assert ctx.inside is not None  # as in every call
        execution = ctx.inside.execution
        parent, links, kind = _place(execution.call.trace)
        attributes: Attributes = {
            "inngest.app.id": self.client.app_id,
            "inngest.function.id": ctx.function_id,
            "inngest.run.id": ctx.run_id,
            "inngest.attempt": ctx.attempt,
            "inngest.event.names": sorted({event.name for event in ctx.events}),
            "inngest.checkpoints": execution.checkpoints is not None,
        }
        name = f"inngest.function {ctx.function_id}"
        self._run_id = ctx.run_id
        self._call = _Current(self._tracer.start_span(name, parent, kind, attributes, links))

    def on_step_start(self, step: StepInfo) -> None:
        """Begin the span of a try, in whatever span the function's code has made."""
        if self._tracer is None:
            return
        attributes: Attributes = {
            "inngest.run.id": self._run_id,
            "inngest.step.id": step.id,
            "inngest.step.index": step.index,
            "inngest.step.kind": step.kind,
            "inngest.step.attempt": step.attempt,
        }
        name = f"inngest.step {step.id}"
        self._step = _Current(self._tracer.start_span(name, attributes=attributes))

    def transform_output(self, result: TransformOutputResult) -> None:
        """End the span of a step that has run, with what other middleware made of its result."""
        if self._step is not None and result.error is None:
            self._step.end()
            self._step = None

    def on_step_error(self, step: StepInfo, error: Exception) -> None:
        """End the span of a try, with its error."""
        if self._step is not None:
            self._step.fail(error)
            self._step.end()
            self._step = None
        elif self._call is not None:  # before the step began, or when its span had ended
            self._call.span.record_exception(error, {"inngest.step.id": step.id})

    def after_execution(self) -> None:
        """Leave the call's span, as user code has been left; it ends when all is known of it."""
        if self._call is not None:
            self._call.leave()

    def on_run_error(self, error: Exception, is_final: bool) -> None:
        """Note that the function has raised."""
        if self._call is not None:
            self._call.fail(error)

    def after_call(self) -> None:
        """End what is open: the call's span, and a step's whose hooks were cut short by another
        middleware's."""
        if self._step is not None:
            self._step.abandon()
        if self._call is not None:
            self._call.end()


def _tracer(provider: trace.TracerProvider) -> trace.Tracer | None:
    """What makes spans; None where the app has set up no SDK, and none would be made."""
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer("inngest_serverless", wire.VERSION)


class _Current:
    """A span that has begun, and is the current one until it ends."""

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self._context = trace.set_span_in_context(span)
        self._token: Token[contexts.Context] | None = contexts.attach(self._context)

    def fail(self, error: Exception) -> None:
        """Note what went wrong."""
        name = error.name if isinstance(error, StepError) else type(error).__qualname__
        self.span.set_attribute("error.type", name)
        self.span.set_status(trace.StatusCode.ERROR, str(error))
        self.span.record_exception(error)

    def leave(self) -> None:
        """Be the current one no more, where it has begun; once."""
        if self._token is not None:
            contexts.detach(self._token)
            self._token = None

    def end(self) -> None:
        """Leave it, and end it."""
        self.leave()
        self.span.end()

    def abandon(self) -> None:
        """End it, wherever this is."""
        if contexts.get_current() is self._context:
            self.leave()
        self.span.set_status(trace.StatusCode.ERROR, "the call ended before its answer was made")
        self.span.end()


def _place(
    headers: Mapping[str, str],
) -> tuple[contexts.Context | None, list[trace.Link], trace.SpanKind]:
    """Where the span of a call belongs: its parent, what else it has to do with, and its kind.

    The server's span is the parent. If the platform's own instrumentation has made a span for the
    request, that one is, where it is of the server's trace; else (X-Ray's, for one) it is linked.
    """
    here = trace.get_current_span().get_span_context()
    remote = TraceContextTextMapPropagator().extract(headers)  # what is here, if they name none
    sender = trace.get_current_span(remote).get_span_context()
    if sender.trace_id == here.trace_id:
        return None, [], trace.SpanKind.INTERNAL if here.is_valid else trace.SpanKind.SERVER
    links = [trace.Link(here)] if here.is_valid else []
    return remote, links, trace.SpanKind.SERVER
