"""Ids of steps that nobody spelled out: after the function that runs, and after a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from inngest_sdk.policy import StepName, StepOptions, options

DECORATED = "__inngest_step__"  # what a function under `@step` keeps of itself


def undecorated(step_id: StepName, call: Any) -> tuple[StepName, Any]:
    """The plain function of one under `@step`, and the step's id with the options that it has."""
    if DECORATED not in getattr(call, "__dict__", ()):
        return step_id, call
    plain, chosen = vars(call)[DECORATED]
    return options(step_id).over(chosen), plain


def id_of(function: Callable[..., Any]) -> str:
    """The function's qualified name without what it is defined in: "charge", or "Shop.charge" of
    a method. What has no name, such as a partial or an object, goes by what it is made of."""
    while isinstance(function, partial):
        function = function.func
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name.rpartition("<locals>.")[2]


def keyed(step_id: StepName, key: object) -> StepOptions:
    """The step called "<id>:<key>", with the same options; people read the key, too."""
    chosen = options(step_id)
    name = None if chosen.name is None else f"{chosen.name} {key}"
    return replace(chosen, id=f"{chosen.id}:{key}", name=name)
