"""What a function is given: `ctx`, for async and for sync functions.

Code outside of steps runs again on every replay, so time and chance are taken from the run:
`now()` is a step, and `random` is seeded with the run's id; inside a step, where code is not
replayed, with the step's, so that each retry of the step draws the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from inngest_sdk import asks
from inngest_sdk.errors import Error
from inngest_sdk.events import D, Event
from inngest_sdk.execution import Execution, step_running
from inngest_sdk.tools import Group, GroupSync, Step, StepSync

if TYPE_CHECKING:
    import random
    import uuid

_current: ContextVar[Context[Any] | ContextSync[Any] | None] = ContextVar(
    "inngest_context", default=None
)


def current() -> Context[Any] | ContextSync[Any] | None:
    """The context of the function call that this code runs in, None outside of all."""
    return _current.get()


@contextmanager
def entered(context: Context[Any] | ContextSync[Any]) -> Generator[None, None, None]:
    """Make it the current one for the code within."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


Streams: TypeAlias = "dict[str, random.Random]"
"""Random numbers by the hash of the step that draws them; "" is the code outside of steps."""


@dataclass
class Inside:
    """What a context needs of its call. `seconds` is the time, and may have to be awaited."""

    execution: Execution
    seconds: Callable[[], Any]
    streams: Streams


class _OfRun:
    """What both contexts can do alike."""

    run_id: str
    inside: Inside | None

    @property
    def replaying(self) -> bool:
        """Whether the function is doing again what it has done in an earlier call."""
        return self.inside is not None and self.inside.execution.replaying

    @property
    def idempotency_key(self) -> str:
        """A key for this step of this run, the same on each of its attempts: for APIs that take
        one, so that a payment is not made twice. Raises Error outside of a step."""
        step = step_running()
        if step is None:
            raise Error(
                "ctx.idempotency_key belongs to a step: read it inside the function that "
                "ctx.step.run calls"
            )
        return f"{self.run_id}-{step.step.hashed}"

    @property
    def random(self) -> random.Random:
        """Random numbers that are the same on every replay. Not for secrets: who knows the run's
        id can tell them."""
        import random

        step = step_running()
        hashed = "" if step is None else step.step.hashed
        streams: Streams = {} if self.inside is None else self.inside.streams
        if hashed not in streams:
            streams[hashed] = random.Random(f"{self.run_id}-{hashed}")
        return streams[hashed]

    def uuid4(self) -> uuid.UUID:
        """A UUID drawn from `random`: the same on every replay, and no secret."""
        import uuid

        return uuid.UUID(bytes=self.random.randbytes(16), version=4)

    def _now(self) -> asks.Ask:
        assert self.inside is not None
        return asks.run(
            "ctx.now",
            self.inside.seconds,
            write=lambda seconds: _moment(seconds).isoformat(),
            read=datetime.fromisoformat,
        )


@dataclass
class Context(_OfRun, Generic[D]):
    """What an async function is given. Middleware may change it.

    `attempt` counts from 0 and starts anew for each step; `max_attempts` may be unknown. `events`
    has more than one event only in a batch. `logger` is the client's, silent while replaying.
    """

    attempt: int
    event: Event[D]
    events: list[Event[D]]
    group: Group
    job_id: str | None
    logger: Any
    request_id: str | None
    run_id: str
    step: Step
    function_id: str = ""
    max_attempts: int | None = None
    inside: Inside | None = field(default=None, repr=False, compare=False)

    async def now(self) -> datetime:
        """The time, in UTC: the same on every replay, as it is a step; in a step, the clock's."""
        if step_running() is not None and self.inside is not None:
            return _moment(await self.inside.seconds())
        found: datetime = await self.step.reach(self._now())
        return found


@dataclass
class ContextSync(_OfRun, Generic[D]):
    """What a sync function is given; see `Context`."""

    attempt: int
    event: Event[D]
    events: list[Event[D]]
    group: GroupSync
    job_id: str | None
    logger: Any
    request_id: str | None
    run_id: str
    step: StepSync
    function_id: str = ""
    max_attempts: int | None = None
    inside: Inside | None = field(default=None, repr=False, compare=False)

    def now(self) -> datetime:
        """The time, in UTC; see `Context.now`."""
        if step_running() is not None and self.inside is not None:
            return _moment(self.inside.seconds())
        found: datetime = self.step.reach(self._now())
        return found


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
