"""What happens to a run and what it changes: the values between rules and store. No behaviour.

happening + RunState ──► rules ──► list[Change] ──► store, in one transaction
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from inngest_serverless.engine.model import (
    JSON,
    Event,
    FunctionConfig,
    Outcome,
    RunStatus,
    TimelineRow,
)

UNKNOWN_VERSION = -1
"""The request version of a run whose app has not answered with ops yet (engine.md 2.4)."""

FUNCTION = "step"
"""The step id of a call that runs the function itself (a discovery), not one planned step."""

JobKind: TypeAlias = Literal[
    "call", "gateway", "sleep", "timeout", "cron", "batch", "debounce", "deadline"
]
TAKEN: frozenset[JobKind] = frozenset({"call", "gateway"})
"""Jobs that somebody works on, outside any transaction. The others are timers."""
PauseKind: TypeAlias = Literal["event", "invoke", "signal", "cancel"]


@dataclass(frozen=True)
class Job:
    """Work due at a time: a call to the app, a request made for it, or a timer.

    The attempt counter is the job's own. `detail` of a gateway job holds the request with its
    keys, which go with the job; `about` in it is what may be shown.
    """

    job_id: str
    kind: JobKind
    run_id: str
    due_ms: int
    step_id: str = FUNCTION
    name: str = ""
    created_ms: int = 0
    attempt: int = 0
    generation: int = 1
    current: int = 0
    """Where in the stack the step stands whose completion scheduled this; 0 for none."""
    claimed_ms: int | None = None
    error: dict[str, JSON] | None = None
    """Why the attempt before this one failed."""
    detail: dict[str, JSON] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Pause:
    """A run, or a step of it, listening. `key` is what it listens for: an event name, a signal,
    the correlation id of an invocation; None once another run has taken a signal over.

    `bound` is what `expression` reads of the run's own event. A wait's timeout is the job with
    the pause's id.
    """

    pause_id: str
    kind: PauseKind
    run_id: str
    key: str | None
    created_ms: int
    expires_ms: int
    step_id: str = FUNCTION
    name: str = ""
    expression: str | None = None
    bound: dict[str, JSON] = field(default_factory=dict)
    detail: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class RunState:
    """What the rules need to know of a run. `stored` and `waiting` cover a reply's ops only."""

    run_id: str
    function: FunctionConfig
    status: RunStatus
    events: tuple[Event, ...]
    version: int = UNKNOWN_VERSION
    planning: bool = False
    """Calls carry `disable_immediate_execution`: a parallel section has not converged."""
    pending: frozenset[str] = frozenset()
    """The ids of the parallel section that have not finished."""
    racing: bool = False
    """The section wants a discovery after each completion."""
    step_count: int = 0
    state_bytes: int = 0
    correlation_id: str | None = None
    slots: tuple[tuple[str, int], ...] = ()
    """What its calls take while they are in flight, with how many there are."""
    stored: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    signals: Mapping[str, str] = field(default_factory=dict)
    """Signals that are waited for, with the pause that does."""


@dataclass(frozen=True)
class Facts:
    """What rules may know of the world, and what makes their ids."""

    now_ms: int
    new_id: Callable[[], str]
    jitter: float
    """From 0 to 1."""
    slug_of: Callable[[str], str | None]
    """The slug of a registered function, by slug or UUID."""
    retry_interval_ms: int | None = None


@dataclass(frozen=True)
class Replied:
    """The app answered a call, or somebody else a request that was made for it."""

    job: Job
    reply: Outcome


@dataclass(frozen=True)
class Checkpointed:
    """The app reports steps in the middle of a call (engine.md 1.8)."""

    job: Job
    ops: tuple[dict[str, JSON], ...]


@dataclass(frozen=True)
class Woke:
    """A sleep is over."""

    job: Job


@dataclass(frozen=True)
class Resumed:
    """A wait ends with this value. `timed_out`: because nothing came."""

    pause: Pause
    value: JSON
    timed_out: bool = False
    detail: dict[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancelled:
    """Somebody, an event or a deadline wants the run to stop."""


@dataclass(frozen=True)
class Stuck:
    """Nothing carries the run on after this call: no job, no wait, no end."""

    job: Job


Happening: TypeAlias = Replied | Checkpointed | Woke | Resumed | Cancelled | Stuck


@dataclass(frozen=True)
class RunScheduled:
    """A new run."""

    run_id: str
    function: FunctionConfig
    events: tuple[Event, ...]
    queued_ms: int
    cron: str | None = None
    correlation_id: str | None = None
    slots: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class RunProgressed:
    """The run's place in its parallel sections, and its request version, changed."""

    run_id: str
    version: int
    planning: bool
    pending: frozenset[str]
    racing: bool


@dataclass(frozen=True)
class StepSaved:
    """A step has its value, for good. `size` is in bytes of JSON; `text` is that JSON."""

    run_id: str
    step_id: str
    text: str


@dataclass(frozen=True)
class JobQueued:
    """Work to do. Queued once: a job id that is there already stays as it is."""

    job: Job


@dataclass(frozen=True)
class JobRetried:
    """The same job again, later."""

    job: Job


@dataclass(frozen=True)
class JobDone:
    """Work that needs doing no more."""

    job_id: str


@dataclass(frozen=True)
class PauseSet:
    """A run listens. Set once, like a job."""

    pause: Pause


@dataclass(frozen=True)
class PauseLifted:
    """A run listens no more."""

    pause_id: str


@dataclass(frozen=True)
class PauseMuted:
    """A wait stays, until its timeout, but hears nothing."""

    pause_id: str


@dataclass(frozen=True)
class RunEnded:
    """The run's status, output and end, at once (engine.md M1)."""

    run_id: str
    status: Literal["Completed", "Failed", "Cancelled"]
    output: JSON
    ended_ms: int


@dataclass(frozen=True)
class EventEmitted:
    """An event of the engine's own."""

    event: Event


@dataclass(frozen=True)
class Recorded:
    """One line of the timeline is final."""

    run_id: str
    row: TimelineRow


Change: TypeAlias = (
    RunScheduled
    | RunProgressed
    | StepSaved
    | JobQueued
    | JobRetried
    | JobDone
    | PauseSet
    | PauseLifted
    | PauseMuted
    | RunEnded
    | EventEmitted
    | Recorded
)
