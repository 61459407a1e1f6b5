"""How one step is tried: how often, how soon again, for how long. Pure.

The protocol knows retries of the function only: `max_attempts` is one number for all steps. A
policy with fewer tries ends the step before them. One with more makes several tries in one call,
spread evenly over the calls that the server will make: the count needs no memory, only the number
of this attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from inngest_sdk.duration import Duration, length
from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.failure import is_retriable

MAX_RETRIES = 100
LONGEST_PAUSE = timedelta(hours=24)  # what a server waits at most (wire.md A7)


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a failed step is tried again.

    `max` (0 to 100) counts the retries after the first try, whatever the function's `retries`.
    `backoff` is the first pause, which doubles from retry to retry up to 24 hours, or a function of
    the retry's number (from 1) that gives the pause; without it the server chooses, and tries
    within one call are a second apart. A failure of a class in `no_retry` is final at once.

        Retry(max=8, backoff="2s", no_retry=[CardDeclined])

    Raises FunctionConfigInvalidError.
    """

    max: int = 4
    backoff: Duration | Callable[[int], Duration] | None = None
    no_retry: Sequence[type[BaseException]] = ()

    def __post_init__(self) -> None:
        whole = isinstance(self.max, int) and not isinstance(self.max, bool)
        if not whole or not 0 <= self.max <= MAX_RETRIES:
            raise FunctionConfigInvalidError(
                f"Retry.max is {self.max!r}; it takes 0 to {MAX_RETRIES}"
            )
        if not isinstance(self.no_retry, (list, tuple, set, frozenset)):
            raise FunctionConfigInvalidError(
                f"Retry.no_retry is {self.no_retry!r}; it takes a list of classes of exceptions"
            )
        for each in self.no_retry:
            if not (isinstance(each, type) and issubclass(each, BaseException)):
                raise FunctionConfigInvalidError(
                    f"Retry.no_retry lists {each!r}; it takes classes of exceptions"
                )
        if self.backoff is not None and not callable(self.backoff):
            _seconds("Retry.backoff", self.backoff)

    def pause(self, retry: int) -> float | None:
        """Seconds before a retry, counted from 1; None leaves it to the server."""
        if self.backoff is None:
            return None
        if callable(self.backoff):
            seconds = _seconds(f"Retry.backoff({retry})", self.backoff(retry))
        else:
            seconds = _seconds("Retry.backoff", self.backoff) * 2.0 ** min(retry - 1, 40)
        return min(seconds, LONGEST_PAUSE.total_seconds())


@dataclass(frozen=True, kw_only=True)
class Tries:
    """What one call may do of a step's tries: `before` it were so many, `here` are so many, and
    `last` tells whether a failure of all of them is final."""

    before: int
    here: int
    last: bool


def tries(retry: Retry | None, attempt: int, max_attempts: int | None) -> Tries:
    """Spread a step's tries over the calls. `attempt` counts from 0; `max_attempts` may be
    unknown, and then the server is taken to call often enough."""
    final = max_attempts is not None and attempt + 1 >= max_attempts
    if retry is None:
        return Tries(before=attempt, here=1, last=final)
    total = retry.max + 1
    if max_attempts is None or total <= max_attempts:
        return Tries(before=attempt, here=1, last=final or attempt + 1 >= total)
    share, more = divmod(total, max(max_attempts, 1))
    before = attempt * share + min(attempt, more)
    return Tries(before=before, here=share + (attempt < more), last=final)


def may_retry(error: BaseException, retry: Retry | None) -> bool:
    """Whether a failure is of a kind that is tried again."""
    barred = retry is not None and isinstance(error, tuple(retry.no_retry))
    return is_retriable(error) and not barred


@dataclass(frozen=True)
class StepOptions:
    """A step's id, and what else is to be said of it; goes wherever a step's id does.

    `name` is what people read in place of the id. `retry` overrides the function's retries.
    `timeout` bounds each try; an async callable is cancelled, a sync one runs in a thread that is
    left to end by itself. A step `at_most_once` is never begun twice: one that may have begun
    before, and whose end nobody saw, fails. The last three are for steps with a callable.

        await ctx.step.run(StepOptions("charge", retry=Retry(max=2), timeout="10s"), charge, order)

    Raises FunctionConfigInvalidError.
    """

    id: str
    name: str | None = None
    retry: Retry | None = None
    timeout: Duration | None = None
    at_most_once: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise FunctionConfigInvalidError(
                f"the id of a step is {self.id!r}; it takes a text that is not empty"
            )
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise FunctionConfigInvalidError(
                f"the retry of step {self.id!r} is {self.retry!r}; it takes a Retry, such as "
                "Retry(max=3)"
            )
        if self.timeout is not None and _seconds(f"timeout of step {self.id!r}", self.timeout) <= 0:
            raise FunctionConfigInvalidError(f"the timeout of step {self.id!r} is not above zero")
        if self.at_most_once and self.retry is not None and self.retry.max:
            raise FunctionConfigInvalidError(
                f"step {self.id!r} is to run at most once, and to be retried {self.retry.max} "
                "times: take one of the two away"
            )

    @property
    def timeout_seconds(self) -> float | None:
        """The bound of each try."""
        if self.timeout is None:
            return None
        return _seconds(f"timeout of step {self.id!r}", self.timeout)

    def over(self, others: StepOptions) -> StepOptions:
        """These options, and where they say nothing, what the others say."""
        return StepOptions(
            self.id,
            self.name or others.name,
            self.retry or others.retry,
            self.timeout if self.timeout is not None else others.timeout,
            self.at_most_once or others.at_most_once,
        )

    @property
    def runs_code(self) -> bool:
        """Whether anything here makes sense only for a step that runs code."""
        return self.retry is not None or self.timeout is not None or self.at_most_once


StepName: TypeAlias = "str | StepOptions"
"""What every step tool takes first: an id, or an id with options."""


def options(step_id: StepName) -> StepOptions:
    """The options of a step, however its id was given."""
    return step_id if isinstance(step_id, StepOptions) else StepOptions(step_id)


def _seconds(option: str, value: Duration) -> float:
    try:
        seconds = length(value).total_seconds()
    except ValueError as error:
        raise FunctionConfigInvalidError(f"{option}: {error}") from None
    if seconds < 0:
        raise FunctionConfigInvalidError(f"{option} is negative")
    return seconds
