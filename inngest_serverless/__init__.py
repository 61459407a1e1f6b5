"""Durable, event-driven step functions on AWS Lambda, Google Cloud Functions and Azure Functions.

The names that apps import, re-exported from the core; no logic.
"""

from inngest_sdk.checkpoint import Checkpointing
from inngest_sdk.client import Inngest
from inngest_sdk.errors import (
    ConfigError,
    Error,
    FunctionConfigInvalidError,
    NonRetriableError,
    RetryAfterError,
    SendEventsError,
    StepError,
)
from inngest_sdk.events import Event, SendEventsResult
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
)
from inngest_sdk.function import Function, TriggerCron, TriggerEvent
from inngest_sdk.middleware import (
    Middleware,
    MiddlewareSync,
    StepMemos,
    TransformOutputResult,
)
from inngest_sdk.serializer import PydanticSerializer, Serializer
from inngest_sdk.tools import (
    Context,
    ContextSync,
    Group,
    GroupSync,
    ParallelMode,
    Step,
    StepSync,
)
from inngest_sdk.wire import VERSION as __version__

__all__ = [
    "Batch",
    "Cancel",
    "Checkpointing",
    "Concurrency",
    "ConfigError",
    "Context",
    "ContextSync",
    "Debounce",
    "Error",
    "Event",
    "Function",
    "FunctionConfigInvalidError",
    "Group",
    "GroupSync",
    "Inngest",
    "Middleware",
    "MiddlewareSync",
    "NonRetriableError",
    "ParallelMode",
    "Priority",
    "PydanticSerializer",
    "RateLimit",
    "RetryAfterError",
    "SendEventsError",
    "SendEventsResult",
    "Serializer",
    "Singleton",
    "Step",
    "StepError",
    "StepMemos",
    "StepSync",
    "Throttle",
    "Timeouts",
    "TransformOutputResult",
    "TriggerCron",
    "TriggerEvent",
    "__version__",
]
