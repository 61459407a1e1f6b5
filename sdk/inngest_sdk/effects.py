"""What the core asks of the world. A flow yields these; a driver (`drive`) performs them.

A flow is a generator: `answer = yield from fetch(request)`. One body of logic so serves sync and
async callers, and a test plays the world by hand with `next(flow)` and `flow.send(...)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from inngest_sdk.config import Key, Reference
from inngest_sdk.http import Request, Response

T = TypeVar("T")


@dataclass(frozen=True)
class Returned:
    """User code ran to its end. `value` is as user code returned it; `ops` are steps that the
    server has not heard of yet."""

    value: object
    ops: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Raised:
    """User code, outside of any step, raised this."""

    error: Exception


@dataclass(frozen=True)
class Reported:
    """User code got as far as these ops (wire.md A9), and has more to do. `error` is what the
    step among them raised, if it did."""

    ops: tuple[dict[str, Any], ...]
    retry_after: str | None = None
    error: Exception | None = None


Outcome: TypeAlias = "Returned | Raised | Reported"


class Driver(Protocol):
    """What performs flows for a sync function."""

    def __call__(self, flow: Flow[T], /) -> T:
        """Run a flow to its result."""
        ...


class AsyncDriver(Protocol):
    """What performs flows for an async function."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]:
        """Run a flow to its result."""
        ...


class Invocation(Protocol):
    """One call of a user function, ready to run, once. It may have flows of its own performed."""

    @property
    def is_async(self) -> bool:
        """Which of the two methods: `run_async`, else `run`."""
        ...

    def run(self, drive: Driver) -> Outcome:
        """Run a sync function to its outcome."""
        ...

    async def run_async(self, drive: AsyncDriver) -> Outcome:
        """Run an async function to its outcome, on the running loop."""
        ...


@dataclass(frozen=True)
class Fetch:
    """Send this request; the answer is a Response. Raises UnreachableError into the flow when
    no response came within `timeout` seconds."""

    request: Request
    timeout: float = 30.0


@dataclass(frozen=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Now:
    """The answer is the time, in Unix seconds."""


@dataclass(frozen=True)
class Reveal:
    """The answer is the secret that a setting refers to (see `keys`). Raises SecretUnavailableError
    into the flow. `again`: what was told before does not seem to be right."""

    reference: Reference
    again: bool = False


@dataclass(frozen=True)
class Invoke:
    """Run user code; the answer is an Outcome. What user code raises never escapes from it."""

    invocation: Invocation


Effect: TypeAlias = "Fetch | Pause | Now | Reveal | Invoke"
Flow: TypeAlias = Generator[Effect, Any, T]


def fetch(request: Request, timeout: float = 30.0) -> Flow[Response]:
    """Ask for an HTTP exchange."""
    response: Response = yield Fetch(request, timeout)
    return response


def pause(seconds: float) -> Flow[None]:
    """Ask to wait."""
    yield Pause(seconds)


def now() -> Flow[float]:
    """Ask for the time, in Unix seconds."""
    seconds: float = yield Now()
    return seconds


def revealed(keys: Sequence[Key], again: bool = False) -> Flow[list[str]]:
    """Ask for the texts of these keys, in order. Raises SecretUnavailableError."""
    texts: list[str] = []
    for key in keys:
        texts.append((yield Reveal(key, again)) if isinstance(key, Reference) else key.reveal())
    return texts


def invoke(invocation: Invocation) -> Flow[Outcome]:
    """Ask for user code to be run."""
    outcome: Outcome = yield Invoke(invocation)
    return outcome
