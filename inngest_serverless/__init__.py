"""Durable, event-driven step functions on AWS Lambda, Google Cloud Functions and Azure Functions.

The names that apps import, re-exported from the core; no logic. Those that few apps need are loaded
when they are asked for: a cold start pays for what it uses.
"""

from typing import TYPE_CHECKING

from inngest_sdk.checkpoint import Checkpointing
from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.context import Context, ContextSync
from inngest_sdk.errors import (
    AtMostOnceError,
    ConfigError,
    Error,
    EventInvalidError,
    FunctionConfigInvalidError,
    NonRetriableError,
    RealtimeError,
    RetryAfterError,
    SagaError,
    SendEventsError,
    SendSignalError,
    SignalNotAwaitedError,
    StepElsewhereError,
    StepError,
    StepTimeoutError,
)
from inngest_sdk.event_types import EventType, event_type
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
    StepInfo,
    StepInput,
    StepMemos,
    TransformOutputResult,
)
from inngest_sdk.policy import Retry, StepOptions
from inngest_sdk.replay_log import ReplayFilter
from inngest_sdk.serializer import JSON, PydanticSerializer, Serializer
from inngest_sdk.tools import Group, GroupSync, ParallelMode, Step, StepSync
from inngest_sdk.wire import VERSION as __version__
from inngest_serverless import secrets as _secrets  # noqa: F401 # registers who fetches them

if TYPE_CHECKING:
    from inngest_sdk.approval import Approval, ApprovalSync, Decision
    from inngest_sdk.decorated import step
    from inngest_sdk.fetching import FetchResponse, FetchStatusError
    from inngest_sdk.mapping import Completion, Failed, MapResult, NotStarted, Succeeded
    from inngest_sdk.realtime import SubscriptionToken, Topic
    from inngest_sdk.saga import Saga, SagaSync
    from inngest_sdk.signals import Signal

_LATER = {
    "Approval": "approval",
    "ApprovalSync": "approval",
    "Completion": "mapping",
    "Decision": "approval",
    "FetchResponse": "fetching",
    "FetchStatusError": "fetching",
    "Failed": "mapping",
    "MapResult": "mapping",
    "NotStarted": "mapping",
    "Succeeded": "mapping",
    "Saga": "saga",
    "SagaSync": "saga",
    "Signal": "signals",
    "SubscriptionToken": "realtime",
    "Topic": "realtime",
    "step": "decorated",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"inngest_sdk.{_LATER[name]}"), name)
    globals()[name] = found
    return found


__all__ = [
    "JSON",
    "Approval",
    "ApprovalSync",
    "AtMostOnceError",
    "Batch",
    "Cancel",
    "Checkpointing",
    "Completion",
    "Concurrency",
    "ConfigError",
    "Context",
    "ContextSync",
    "Debounce",
    "Decision",
    "Error",
    "Event",
    "EventInvalidError",
    "EventType",
    "Failed",
    "FetchResponse",
    "FetchStatusError",
    "Function",
    "FunctionConfigInvalidError",
    "Group",
    "GroupSync",
    "Inngest",
    "MapResult",
    "Middleware",
    "MiddlewareSync",
    "NonRetriableError",
    "NotStarted",
    "ParallelMode",
    "Priority",
    "PydanticSerializer",
    "RateLimit",
    "RealtimeError",
    "ReplayFilter",
    "Retry",
    "RetryAfterError",
    "Saga",
    "SagaError",
    "SagaSync",
    "SendEventsError",
    "SendEventsResult",
    "SendSignalError",
    "Serializer",
    "Signal",
    "SignalNotAwaitedError",
    "Singleton",
    "Step",
    "StepElsewhereError",
    "StepError",
    "StepInfo",
    "StepInput",
    "StepMemos",
    "StepOptions",
    "StepSync",
    "StepTimeoutError",
    "Streaming",
    "SubscriptionToken",
    "Succeeded",
    "Throttle",
    "Timeouts",
    "Topic",
    "TransformOutputResult",
    "TriggerCron",
    "TriggerEvent",
    "__version__",
    "event_type",
    "step",
]
