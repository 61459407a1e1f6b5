"""One step for each of many items: `ctx.step.map`.

Which steps are started depends on the order in which others finished, and that is the same on
every replay. In an async function the window moves with each item that finishes: the server is
asked to call after each (wire.md A15). In a sync function, whose code stands in one place at a
time, the items go in groups of `limit`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from inngest_sdk.errors import FunctionConfigInvalidError, StepError
from inngest_sdk.execution import parallel_mode_of_steps
from inngest_sdk.naming import keyed, undecorated
from inngest_sdk.policy import StepName, StepOptions, options

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
RunAs: TypeAlias = Callable[[StepName, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]], Any]
Reason: TypeAlias = Literal["all", "min_successful", "failures"]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """When a map has done enough, or has failed too often, to start more items.

    It is complete when `min_successful` items have succeeded. It has failed when more than
    `tolerated_failures` have failed, or more than `tolerated_failure_percentage` (0 to 100) of
    all, or so many that `min_successful` cannot be reached. What has been started by then is
    waited for.

        Completion(min_successful=3, tolerated_failure_percentage=25)

    Raises FunctionConfigInvalidError.
    """

    min_successful: int | None = None
    tolerated_failures: int | None = None
    tolerated_failure_percentage: float | None = None

    def __post_init__(self) -> None:
        _check_number("Completion.min_successful", self.min_successful, 1, math.inf)
        _check_number("Completion.tolerated_failures", self.tolerated_failures, 0, math.inf)
        _check_number(
            "Completion.tolerated_failure_percentage", self.tolerated_failure_percentage, 0, 100
        )

    def reached(self, total: int, succeeded: int, failed: int) -> Reason | None:
        """Why no more items are started, None while they are."""
        tolerated = [total] if self.tolerated_failures is None else [self.tolerated_failures]
        if self.tolerated_failure_percentage is not None:
            tolerated.append(math.floor(total * self.tolerated_failure_percentage / 100))
        if self.min_successful is not None:
            tolerated.append(total - self.min_successful)
        if failed > min(tolerated):
            return "failures"
        enough = self.min_successful is not None and succeeded >= self.min_successful
        return "min_successful" if enough else None


@dataclass(frozen=True)
class Succeeded(Generic[T_co]):
    """The item at this place, counted from 0, came to this value."""

    place: int
    value: T_co


@dataclass(frozen=True)
class Failed:
    """The item at this place has failed for good."""

    place: int
    error: StepError


@dataclass(frozen=True)
class NotStarted:
    """The item at this place was not begun: the map had been complete, or failed, before."""

    place: int


Item: TypeAlias = Succeeded[T] | Failed | NotStarted


@dataclass(frozen=True)
class MapResult(Generic[T]):
    """What the items of a map came to, in their order.

    `reason` tells why it ended: "all" items are done, "min_successful" is reached, or there were
    too many "failures" for its Completion.
    """

    items: tuple[Item[T], ...]
    reason: Reason
    completion: Completion | None = None

    def values(self) -> list[T]:
        """The values of the items that succeeded, in order.

        Raises the first error, in order, if the map has failed: too often for its Completion; at
        all if it has none.
        """
        if self.reason == "failures" or self.completion is None:
            self.raise_for_errors()
        return [item.value for item in self.succeeded]

    def raise_for_errors(self) -> None:
        """Raise the first error, in order, if any item has failed, tolerated or not."""
        for error in self.errors:
            raise error

    @property
    def succeeded(self) -> list[Succeeded[T]]:
        """The items that succeeded."""
        return [item for item in self.items if isinstance(item, Succeeded)]

    @property
    def failed(self) -> list[Failed]:
        """The items that failed."""
        return [item for item in self.items if isinstance(item, Failed)]

    @property
    def not_started(self) -> list[NotStarted]:
        """The items that were not begun."""
        return [item for item in self.items if isinstance(item, NotStarted)]

    @property
    def errors(self) -> list[StepError]:
        """The errors of those that failed."""
        return [item.error for item in self.failed]


@dataclass
class Progress(Generic[T]):
    """How far a map has come: hands out places in order until enough is done."""

    steps: Sequence[StepOptions]
    completion: Completion | None
    reason: Reason | None = None
    _next: int = 0
    _ended: dict[int, Item[T]] = field(default_factory=dict)

    def begin(self) -> int | None:
        """The place of the item to start next, None for none."""
        if self.reason is not None or self._next == len(self.steps):
            return None
        self._next += 1
        return self._next - 1

    def end(self, item: Item[T]) -> None:
        """Note what an item came to."""
        self._ended[item.place] = item
        if self.completion is not None and self.reason is None:
            ended = self._ended.values()
            failed = sum(isinstance(each, Failed) for each in ended)
            self.reason = self.completion.reached(len(self.steps), len(ended) - failed, failed)

    def result(self) -> MapResult[T]:
        """What it all came to."""
        places = range(len(self.steps))
        items = tuple(self._ended.get(place, NotStarted(place)) for place in places)
        return MapResult(items, self.reason or "all", self.completion)


@dataclass(frozen=True)
class Plan(Generic[T]):
    """A map before it runs: a step and an item for each place, `limit` of them open at a time."""

    steps: Sequence[StepOptions]
    handler: Callable[..., Any]
    items: Sequence[Any]
    limit: int
    completion: Completion | None

    async def run(self, run_as: RunAs) -> MapResult[T]:
        """Run it in an async function."""
        import asyncio

        progress: Progress[T] = Progress(self.steps, self.completion)

        async def lane() -> None:
            while (place := progress.begin()) is not None:
                try:
                    value = await self._start(run_as, place)
                except StepError as error:
                    progress.end(Failed(place, error))
                else:
                    progress.end(Succeeded(place, value))

        lanes = min(self.limit, len(self.items))
        if lanes <= 1:
            await lane()
        elif lanes == len(self.items):
            await asyncio.gather(*(lane() for _ in range(lanes)))
        else:
            with parallel_mode_of_steps("race"):
                moving = asyncio.gather(*(lane() for _ in range(lanes)))
            await moving
        return progress.result()

    def run_sync(
        self,
        run_as: RunAs,
        parallel: Callable[[tuple[Callable[[], Item[T]], ...]], Iterable[Item[T]]],
    ) -> MapResult[T]:
        """Run it in a sync function; `parallel` runs callables side by side."""
        progress: Progress[T] = Progress(self.steps, self.completion)

        def starting(place: int) -> Callable[[], Item[T]]:
            return lambda: self._ended(run_as, place)

        while group := self._group(progress):
            callables = tuple(starting(place) for place in group)
            # Alone, a step may go on in this call (see `checkpoint`).
            ended = (callables[0](),) if len(callables) == 1 else parallel(callables)
            for item in ended:
                progress.end(item)
        return progress.result()

    def _group(self, progress: Progress[T]) -> list[int]:
        return [place for _ in range(self.limit) if (place := progress.begin()) is not None]

    def _ended(self, run_as: RunAs, place: int) -> Item[T]:
        try:
            return Succeeded(place, self._start(run_as, place))
        except StepError as error:
            return Failed(place, error)

    def _start(self, run_as: RunAs, place: int) -> Any:
        return run_as(self.steps[place], self.handler, (self.items[place],), {})


def plan(
    step_id: StepName,
    handler: Callable[..., Any],
    items: Iterable[Any],
    limit: int | None,
    completion: Completion | None,
    key: Callable[[Any], object] | None,
) -> Plan[Any]:
    """A map of these items. Raises FunctionConfigInvalidError."""
    chosen = options(step_id)
    what = f"step.map {chosen.id!r}"
    if not isinstance(items, Iterable):
        raise FunctionConfigInvalidError(f"{what} is given {items!r}; it takes the items, a list")
    listed = list(items)
    step_id, handler = undecorated(chosen, handler)
    chosen = options(step_id)
    _check_number(f"the limit of {what}", limit, 1, math.inf)
    wanted = None if completion is None else completion.min_successful
    if wanted is not None and wanted > len(listed):
        raise FunctionConfigInvalidError(
            f"{what} has {len(listed)} items, and its min_successful is {wanted}"
        )
    keys = [n if key is None else key(item) for n, item in enumerate(listed)]
    _check_distinct(what, [str(each) for each in keys])
    steps = [keyed(chosen, each) for each in keys]
    return Plan(steps, handler, listed, len(listed) if limit is None else limit, completion)


def _check_distinct(what: str, keys: Sequence[str]) -> None:
    places: dict[str, int] = {}
    for place, key in enumerate(keys):
        if key in places:
            raise FunctionConfigInvalidError(
                f"{what}: items {places[key]} and {place} have the same key, {key!r}; each item's "
                "step needs a key of its own"
            )
        places[key] = place


def _check_number(option: str, value: float | None, least: float, most: float) -> None:
    whole = most == 100 or isinstance(value, int)
    if value is None or (whole and not isinstance(value, bool) and least <= value <= most):
        return
    bound = f"{least} to 100" if most == 100 else f"a whole number from {least}"
    raise FunctionConfigInvalidError(f"{option} is {value!r}; it takes {bound}")
