"""Powertools for AWS Lambda around functions: keys in its Logger, Metrics, and Tracer subsegments.

    client = Inngest(app_id="shop", middleware=[Powertools(logger=Logger())])

Each part is used if it is given, and the library is imported by who makes it. Nothing here fails a
function: what Powertools raises is logged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from inngest_sdk.context import Context, ContextSync
from inngest_sdk.errors import ConfigError, ProtocolError, SignatureInvalidError
from inngest_sdk.function import Function
from inngest_sdk.middleware import MiddlewareSync, StepInfo, StepMemos

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Metrics, Tracer
    from aws_lambda_powertools.metrics import EphemeralMetrics

Hook = TypeVar("Hook", bound=Callable[..., None])

CALL_KEYS = ("inngest_run_id", "inngest_function_id", "inngest_attempt")
MAX_NAME = 200  # characters of a subsegment's name, which X-Ray takes
STEP_KEYS = ("inngest_step_id", "inngest_step_attempt")


@dataclass
class Powertools:
    """Makes the middleware of each call; give it to the client, for sync and async functions.

    `logger` becomes the client's, and says in each line which run, function, attempt and step it
    belongs to. `metrics` needs a namespace; its service and default dimensions are used, what the
    app collects in it is left alone. `tracer` gets a subsegment for each call, and one for each
    step in it.

    Raises ConfigError for metrics without a namespace.
    """

    logger: Logger | None = None
    metrics: Metrics | None = None
    tracer: Tracer | None = None
    _has_called: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.metrics is not None and not self.metrics.provider.namespace:
            raise ConfigError(
                "the metrics have no namespace: make them as Metrics(namespace=...), or set "
                "POWERTOOLS_METRICS_NAMESPACE"
            )

    def __call__(self, client: Any, raw_request: object) -> MiddlewareSync:
        """The middleware of one call."""
        return PowertoolsMiddleware(client, raw_request, self)

    def on_register(self, client: Any, function: Any) -> None:
        """Make the logger the client's."""
        if self.logger is not None:
            client.set_logger(self.logger)

    def on_refused(self, client: Any, error: ProtocolError) -> None:
        """Count a request that was refused."""
        if self.metrics is None:
            return
        metrics = self.fresh_metrics()
        metrics.add_metric("RequestRefused", "Count", 1)
        if isinstance(error, SignatureInvalidError):
            metrics.add_metric("SignatureRejected", "Count", 1)
        metrics.flush_metrics()

    def fresh_metrics(self) -> EphemeralMetrics:
        """Metrics of nobody else, to be printed as one line: calls under an event loop overlap,
        and a dimension of ours would be on the app's own metrics, too."""
        from aws_lambda_powertools.metrics import EphemeralMetrics

        assert self.metrics is not None
        provider = self.metrics.provider
        return EphemeralMetrics(
            namespace=provider.namespace,
            service=provider.service,
            default_dimensions=dict(provider.default_dimensions),
        )

    def is_cold(self) -> bool:
        """Whether this is the first call that the process takes; asked once a call."""
        is_first, self._has_called = not self._has_called, True
        return is_first


def _harmless(hook: Hook) -> Hook:
    """Log what a hook raises: no function fails for its observation."""

    @wraps(hook)
    def guarded(self: PowertoolsMiddleware, *arguments: Any) -> None:
        try:
            hook(self, *arguments)
        except Exception:
            self.client.logger.exception("inngest: Powertools failed in %s", hook.__name__)

    return guarded  # type: ignore[return-value]  # it takes and gives the same


class PowertoolsMiddleware(MiddlewareSync):
    """What Powertools is told of one call."""

    # It changes nothing.
    reversible: ClassVar[bool] = True

    def __init__(self, client: Any, raw_request: object, powertools: Powertools) -> None:
        super().__init__(client, raw_request)
        self._powertools = powertools
        self._metrics = powertools.fresh_metrics() if powertools.metrics is not None else None
        self._is_async = False
        self._call: _Subsegment | None = None
        self._steps: dict[str, tuple[float, _Subsegment | None]] = {}

    @_harmless
    def transform_input(
        self, ctx: Context[Any] | ContextSync[Any], function: Function[Any], steps: StepMemos
    ) -> None:
        """Begin: put the call's keys on log lines, and begin its subsegment."""
        self._is_async = isinstance(ctx, Context)
        keys = (ctx.run_id, ctx.function_id, ctx.attempt)
        self._append(dict(zip(CALL_KEYS, keys, strict=True)))
        if self._metrics is not None:
            self._metrics.add_dimension("function", ctx.function_id)
            if self._powertools.is_cold():
                self._metrics.add_metric("ColdStart", "Count", 1)
        self._call = self._begun(f"## {ctx.function_id}", {CALL_KEYS[0]: ctx.run_id})

    @_harmless
    def on_step_start(self, step: StepInfo) -> None:
        """Put the step's keys on log lines, and begin its subsegment."""
        self._append(dict(zip(STEP_KEYS, (step.id, step.attempt), strict=True)))
        subsegment = self._begun(f"## step {step.id}", {STEP_KEYS[0]: step.id})
        if subsegment is not None and self._is_async:
            subsegment.step_aside()
        self._steps[step.hashed_id] = (time.perf_counter(), subsegment)

    @_harmless
    def on_step_complete(self, step: StepInfo, output: Any) -> None:
        """Note how long a try took."""
        self._ended(step, None)

    @_harmless
    def on_step_error(self, step: StepInfo, error: Exception) -> None:
        """Note how long a try took, and that it failed."""
        self._count("StepError")
        self._ended(step, error)

    @_harmless
    def on_run_complete(self, output: Any) -> None:
        """Count a run that has ended well."""
        self._count("RunCompleted")

    @_harmless
    def on_run_error(self, error: Exception, is_final: bool) -> None:
        """Count a run that has failed, or will be tried again."""
        self._count("RunFailed" if is_final else "RunError")
        if self._call is not None:
            self._call.error = error

    @_harmless
    def before_response(self) -> None:
        """End: print the metrics, end the subsegment, and leave the log lines as they were."""
        self._remove(CALL_KEYS)
        if self._metrics is not None:
            self._metrics.flush_metrics()
        if self._call is not None:
            self._call.end()

    def _ended(self, step: StepInfo, error: Exception | None) -> None:
        self._remove(STEP_KEYS)
        began, subsegment = self._steps.pop(step.hashed_id, (None, None))
        if began is not None and self._metrics is not None:
            milliseconds = (time.perf_counter() - began) * 1000
            self._metrics.add_metric("StepDuration", "Milliseconds", milliseconds)
        if subsegment is not None:
            subsegment.error = error
            subsegment.end()

    def _count(self, name: str) -> None:
        if self._metrics is not None:
            self._metrics.add_metric(name, "Count", 1)

    # Those of the thread and task, not the logger's own: calls under an event loop overlap.

    def _append(self, keys: dict[str, Any]) -> None:
        if self._powertools.logger is not None:
            self._powertools.logger.thread_safe_append_keys(**keys)

    def _remove(self, keys: tuple[str, ...]) -> None:
        if self._powertools.logger is not None:
            self._powertools.logger.thread_safe_remove_keys(keys)

    def _begun(self, name: str, annotations: dict[str, str]) -> _Subsegment | None:
        tracer = self._powertools.tracer
        return None if tracer is None or tracer.disabled else _Subsegment(tracer, name, annotations)


class _Subsegment:
    """A subsegment that has begun, and is the current one of its thread until it ends."""

    def __init__(self, tracer: Tracer, name: str, annotations: dict[str, str]) -> None:
        # What the tracer records with. Its context managers take that what began last ends first.
        recorder: Any = tracer.provider
        self._recorder = recorder
        self._outer = recorder.get_trace_entity()
        self._own = recorder.begin_subsegment(name=name[:MAX_NAME])
        self.error: Exception | None = None
        for key, value in annotations.items():
            if self._own is not None:
                self._own.put_annotation(key, value)

    def step_aside(self) -> None:
        """Be the current one no more: steps of an async function may run side by side, in one
        thread, and each would become the child of the one before."""
        self._recorder.set_trace_entity(self._outer)

    def end(self) -> None:
        """End it, with the error if there is one."""
        if self._own is None:
            return
        if self.error is not None:
            self._own.add_exception(self.error, [])
        if self._recorder.get_trace_entity() is self._own:
            self._recorder.end_subsegment()
        else:
            self._own.close()
            self._recorder.stream_subsegments()
