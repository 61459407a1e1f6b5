"""Functions that are steps wherever a run calls them: `@step`.

The id is the function's name, so that it stays the same when code around it moves. Outside of runs,
and inside other steps, the function is the plain one: there is nothing to remember it in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from inngest_sdk import context
from inngest_sdk.duration import Duration
from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.execution import step_running
from inngest_sdk.function import is_async
from inngest_sdk.naming import DECORATED, id_of, keyed
from inngest_sdk.policy import Retry, StepOptions

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class DecoratedStep(Protocol[P, R_co]):
    """A function under `@step`: called as before, or with a `key=` besides."""

    __name__: str

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, key: object, **kwargs: Any) -> R_co: ...

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> DecoratedStep[P, R_co]: ...
    @overload
    def __get__(
        self: DecoratedStep[Concatenate[S, Q], R], instance: S, owner: type[Any]
    ) -> DecoratedStep[Q, R]: ...


class StepDecorator(Protocol):
    """What `step(...)` returns: put on a function, it makes a step of it."""

    def __call__(self, function: Callable[P, R], /) -> DecoratedStep[P, R]: ...


@overload
def step(function: Callable[P, R], /) -> DecoratedStep[P, R]: ...
@overload
def step(
    *,
    id: str | None = None,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    at_most_once: bool = False,
) -> StepDecorator: ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    id: str | None = None,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    at_most_once: bool = False,
) -> Any:
    """Make the function below a step of every run that calls it.

        @step(retry=Retry(max=5))
        async def charge(order: Order) -> Charge: ...

        paid = await charge(order)

    The id is the function's name ("charge"; "Shop.charge" of a method, whose `self` is no part of
    it) unless `id` is given; with `key=` it is "charge:<key>". Calls with equal ids are numbered in
    the order in which they are reached: give those of a loop a key, or they depend on its order.
    The other options are those of StepOptions. A sync function is called without `await`, from
    sync functions only.

    Raises FunctionConfigInvalidError.
    """

    def decorate(plain: Callable[..., Any]) -> Callable[..., Any]:
        _check(plain)
        chosen = StepOptions(id_of(plain) if id is None else id, name, retry, timeout, at_most_once)
        return _decorated(plain, chosen)

    return decorate if function is None else decorate(function)


def _decorated(plain: Callable[..., Any], chosen: StepOptions) -> Callable[..., Any]:
    @wraps(plain)
    def call(*args: Any, key: object = None, **kwargs: Any) -> Any:
        run = context.current()
        if run is None or step_running() is not None:
            return plain(*args, **kwargs)
        if isinstance(run, context.Context) and not is_async(plain):
            raise FunctionConfigInvalidError(
                f"the step {chosen.id!r} is a sync function, and was called from an async one, "
                "which it would block: make it `async def`, or write "
                f"`await ctx.step.run({chosen.id!r}, {plain.__name__}, ...)`"
            )
        of_key = chosen if key is None else keyed(chosen, key)
        return run.step.run_as(of_key, plain, args, kwargs)

    vars(call)[DECORATED] = plain, chosen  # for tools that are given the function
    return call


def _check(function: object) -> None:
    if isinstance(function, (classmethod, staticmethod)):
        kind = type(function).__name__
        raise FunctionConfigInvalidError(f"@step stands above @{kind}; put it below")
    if not inspect.isroutine(function) or not hasattr(function, "__qualname__"):
        raise FunctionConfigInvalidError(
            f"@step is put on {function!r}; it takes a function or a method. Of other callables "
            "make steps with ctx.step.run"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise FunctionConfigInvalidError(
            f"@step is put on the generator {function.__qualname__}; a step returns its result: "
            "return a list"
        )
    taken = inspect.signature(cast("Callable[..., Any]", function)).parameters.get("key")
    if taken is not None and taken.kind in (taken.POSITIONAL_OR_KEYWORD, taken.KEYWORD_ONLY):
        raise FunctionConfigInvalidError(
            f"{function.__qualname__} has a parameter `key`, which @step uses to tell calls apart: "
            "rename the parameter, or leave @step away and call the function with ctx.step.run"
        )
