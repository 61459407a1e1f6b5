"""The engine's values: what comes in, what goes out, what is kept. Frozen, no behaviour, no I/O.

Event ──► a run of each FunctionConfig it triggers ──► Job ──► Call ──► the app
                                 ▲                                        │
                                 └──────────── Reply (Ops | Finished | Failed) ◄┘
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

JSON: TypeAlias = Any

RunStatus: TypeAlias = Literal["Scheduled", "Running", "Completed", "Failed", "Cancelled"]


@dataclass(frozen=True)
class Event:
    """A stored event. `internal_id` is ours (a ULID); `id` is the sender's, and deduplicates."""

    internal_id: str
    id: str
    name: str
    data: dict[str, JSON]
    ts: int
    received_ms: int
    user: dict[str, JSON] = field(default_factory=dict)
    v: str | None = None
    meta: dict[str, JSON] | None = None

    def to_json(self) -> dict[str, JSON]:
        """The event as apps receive it: `user` is always there (engine.md 3.1)."""
        body: dict[str, JSON] = {
            "data": self.data,
            "id": self.id,
            "name": self.name,
            "ts": self.ts,
            "user": self.user,
        }
        if self.v is not None:
            body["v"] = self.v
        if self.meta is not None:
            body["meta"] = self.meta
        return body


@dataclass(frozen=True)
class EventTrigger:
    """Starts a run for an event of this name (`*` after `/` or `.` is a wildcard)."""

    event: str
    expression: str | None = None


@dataclass(frozen=True)
class CronTrigger:
    """Starts a run on a schedule: five fields, maybe after `TZ=zone `. `jitter_ms` spreads it."""

    cron: str
    jitter_ms: int = 0


@dataclass(frozen=True)
class CancelOn:
    """Cancels a run when this event comes. `timeout_ms` is how long after its start it may."""

    event: str
    expression: str | None = None
    timeout_ms: int | None = None


@dataclass(frozen=True)
class FunctionConfig:
    """A registered function. `function_id` is a UUID made of app and slug: a new URL keeps it."""

    function_id: str
    app_id: str
    app_name: str
    slug: str
    name: str
    url: str
    retries: int = 4
    triggers: tuple[EventTrigger | CronTrigger, ...] = ()
    cancels: tuple[CancelOn, ...] = ()
    idempotency: str | None = None
    config: dict[str, JSON] = field(default_factory=dict)
    """The registered JSON, as it came."""


@dataclass(frozen=True)
class App:
    """A registered app, or one whose last sync failed (`error` says how)."""

    app_id: str
    name: str
    url: str
    sdk: str = ""
    framework: str = ""
    platform: str = ""
    app_version: str | None = None
    error: str | None = None
    synced_ms: int = 0


@dataclass(frozen=True)
class Call:
    """One call to the app, complete (engine.md 3.1). `step_id` is "step" or a planned hash."""

    url: str
    function_id: str
    run_id: str
    job_id: str
    request_id: str
    step_id: str
    attempt: int
    max_attempts: int
    generation: int
    stack: tuple[str, ...]
    current: int
    request_version: int
    disable_immediate_execution: bool
    events: tuple[Event, ...]
    steps: dict[str, JSON]


@dataclass(frozen=True)
class Finished:
    """The function returned: the run is Completed with `output`."""

    output: JSON


@dataclass(frozen=True)
class Ops:
    """The function reported ops. `retriable` and `retry_at_ms` hold for the StepErrors in it."""

    ops: tuple[dict[str, JSON], ...]
    request_version: int
    retriable: bool = True
    retry_at_ms: int | None = None


@dataclass(frozen=True)
class Failed:
    """The call failed. `error` has error, name, message (stack, cause); `output` is the raw body.

    `output` is what the run keeps if this was the last attempt.
    """

    error: dict[str, JSON]
    output: JSON
    retriable: bool = True
    retry_at_ms: int | None = None


Reply: TypeAlias = Ops | Finished | Failed
"""What an app's answer to a call means."""


@dataclass(frozen=True)
class GatewayRequest:
    """A request that the engine makes for an app (wire.md A9: Gateway, AIGateway).

    Its representation is without what may be secret: URL, headers, body and key.
    """

    op: Literal["Gateway", "AIGateway"]
    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: str = field(default="", repr=False)
    auth_key: str = field(default="", repr=False)
    """Put into the request only when it is made, where `format` wants it (wire.md Q6)."""
    format: str = ""


@dataclass(frozen=True)
class Fetched:
    """A request that the engine made came back: `value` is what its step stores."""

    value: JSON


Outcome: TypeAlias = Reply | Fetched
"""How a job that is not a timer ends."""


@dataclass(frozen=True)
class RunRow:
    """A run as it is read back. `output` is None until the run has ended."""

    run_id: str
    function_id: str
    slug: str
    status: RunStatus
    event_ids: tuple[str, ...]
    queued_ms: int
    started_ms: int | None = None
    ended_ms: int | None = None
    output: JSON = None
    cron: str | None = None


@dataclass(frozen=True)
class TracedStep:
    """A step of a run, for a trace. `kind` is the op; `memo` what is stored, None until it is."""

    step_id: str
    name: str
    kind: str
    memo: JSON = None


@dataclass(frozen=True)
class Trace:
    """All that a run was told, and found: enough to run its function again and compare.

    `steps` are in the order of completion. `open` are those that were found and did not finish:
    under way, or cut off by the run's end.
    """

    run: RunRow
    events: tuple[Event, ...]
    steps: tuple[TracedStep, ...]
    open: tuple[TracedStep, ...]


RowStatus: TypeAlias = Literal[
    "Running", "Completed", "Failed", "Retrying", "Waiting", "TimedOut", "Cancelled"
]


@dataclass(frozen=True)
class TimelineRow:
    """One line of a run's timeline: one attempt of one piece of work, or a wait.

    `kind` is the op ("StepRun", "Sleep", "WaitForEvent", "InvokeFunction", "Function", ...);
    `step_id` the hash ("step" for the function itself); `name` what the user called it.
    """

    step_id: str
    name: str
    kind: str
    status: RowStatus
    attempt: int
    started_ms: int
    ended_ms: int | None = None
    output: JSON = None
    error: dict[str, JSON] | None = None
    detail: dict[str, JSON] = field(default_factory=dict)
