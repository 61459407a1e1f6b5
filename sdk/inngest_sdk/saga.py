"""Steps that are undone when something after them fails: `ctx.step.saga`.

When an error leaves the block, a step "<saga>:failed" keeps what it was, and then the undos run as
steps, the last one first. From then on the saga has failed for good: errors outside of steps may
go away on a later attempt, and a block that gets through then must not keep half of its work. It
is undone all the same, and raises what is on record.

What ends a call is no error (a BaseException: `Interrupt`, or the task's cancellation), so it
undoes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ParamSpec, TypeAlias, TypeVar, overload

from inngest_sdk.errors import SagaError, StepError
from inngest_sdk.failure import error_json
from inngest_sdk.middleware import Hooks, await_hooks, call_hooks
from inngest_sdk.naming import id_of
from inngest_sdk.policy import StepName, options
from inngest_sdk.steps import StepId, hash_id

P = ParamSpec("P")
T = TypeVar("T")
RunAs: TypeAlias = Callable[[StepName, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Undo:
    """What takes a step back, under an id of its own."""

    step_id: str
    handler: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass
class Undos:
    """The undos of one saga, in the order in which they were registered. `run_as` runs a step, and
    may have to be awaited; `is_known` tells whether one has finished in an earlier call."""

    id: str
    run_as: RunAs
    is_known: Callable[[str], bool]
    listed: list[Undo] = field(default_factory=list)

    def add(
        self,
        what: str,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Register one."""
        self.listed.append(Undo(f"{self.id}:undo:{what}", handler, args, kwargs))

    def leave(self, error: BaseException | None) -> Hooks[None]:
        """The block is left, with this error. Raises SagaError when something stays undone, and
        the error on record if the block has failed in an earlier call only."""
        marker = f"{self.id}:failed"
        if not self._has_failed(error, marker):
            return
        recorded = yield self.run_as(marker, _told, (error,), {})
        failed: dict[str, StepError] = {}
        count = 0
        while self.listed:  # and a step that ran beside the failed one may still add to it
            undo = self.listed.pop()
            count += 1
            try:
                yield self.run_as(undo.step_id, undo.handler, undo.args, undo.kwargs)
            except StepError as failure:
                failed[undo.step_id] = failure
        cause = StepError(recorded["message"], recorded["name"]) if error is None else error
        if failed:
            raise SagaError(_message(self.id, cause, failed, count), failed) from cause
        if error is None:
            raise cause

    def _has_failed(self, error: BaseException | None, marker: str) -> bool:
        if error is None:
            return self.is_known(marker)
        return isinstance(error, Exception) and (bool(self.listed) or self.is_known(marker))


def undos(saga: StepId, run_as: RunAs, memos: Mapping[str, Any]) -> Undos:
    """No undos yet, of a saga that is told apart from others of the same id."""
    name = f"{saga.name}:{saga.index}" if saga.index else saga.name
    return Undos(name, run_as, lambda step_id: hash_id(step_id) in memos)


class Saga:
    """What `async with ctx.step.saga(...)` gives."""

    def __init__(self, undos: Undos) -> None:
        self._undos = undos

    async def __aenter__(self) -> Saga:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await await_hooks(self._undos.leave(error))

    @overload
    async def run(
        self,
        step_id: StepName,
        handler: Callable[..., Awaitable[T]],
        *args: Any,
        undo: Callable[[T], Any],
        **kwargs: Any,
    ) -> T: ...
    @overload
    async def run(
        self,
        step_id: StepName,
        handler: Callable[..., T],
        *args: Any,
        undo: Callable[[T], Any],
        **kwargs: Any,
    ) -> T: ...
    async def run(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        *args: Any,
        undo: Callable[[Any], Any],
        **kwargs: Any,
    ) -> Any:
        """Run a step as `ctx.step.run` does; if the saga fails later, `undo` is called with what
        the step returned, as the step "<saga>:undo:<step_id>".

        A step that fails is not undone itself: nobody knows how far it got.
        """
        value = await self._undos.run_as(step_id, handler, args, kwargs)
        self._undos.add(options(step_id).id, undo, (value,), {})
        return value

    def undo(self, handler: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Have `handler(*args, **kwargs)` run if the saga fails from here on, as the step
        "<saga>:undo:<the handler's name>"."""
        self._undos.add(id_of(handler), handler, args, kwargs)


class SagaSync:
    """What `with ctx.step.saga(...)` gives in a sync function; see Saga."""

    def __init__(self, undos: Undos) -> None:
        self._undos = undos

    def __enter__(self) -> SagaSync:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        call_hooks(self._undos.leave(error))

    def run(
        self,
        step_id: StepName,
        handler: Callable[..., T],
        *args: Any,
        undo: Callable[[T], Any],
        **kwargs: Any,
    ) -> T:
        """Run a step that `undo` takes back; see `Saga.run`."""
        value: T = self._undos.run_as(step_id, handler, args, kwargs)
        self._undos.add(options(step_id).id, undo, (value,), {})
        return value

    def undo(self, handler: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Register what runs if the saga fails from here on; see `Saga.undo`."""
        self._undos.add(id_of(handler), handler, args, kwargs)


def _told(error: BaseException) -> dict[str, str]:
    body = error_json(error)
    return {"name": body["name"], "message": body["message"]}


def _message(saga: str, cause: BaseException, failed: Mapping[str, StepError], count: int) -> str:
    listed = "; ".join(f"{step_id}: {error.message}" for step_id, error in failed.items())
    return (
        f"saga {saga!r} failed ({type(cause).__name__}: {cause}), and {len(failed)} of its "
        f"{count} undos failed, too: undo that by hand ({listed})"
    )
