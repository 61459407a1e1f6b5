"""What a step is before it runs: its identity and its op (wire.md A8, A9). Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

from inngest_sdk.http import dumps

MAX_INPUT = 65_536  # bytes of a step's arguments that the server is told


@dataclass(frozen=True)
class StepId:
    """A step's identity in a run: the user's id, its index among equal ids, and their hash."""

    name: str
    index: int
    hashed: str


class StepIds:
    """Gives each step of a call its identity: the same position always gets the same one."""

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}
        self._taken: set[str] = set()

    def next(self, name: str) -> StepId:
        """The identity of the next step called `name`.

        The first use hashes the id itself, the n-th repeat `id:n`; a number that another step's
        id spells out already is skipped.
        """
        index = self._uses.get(name, -1) + 1
        while (text := f"{name}:{index}" if index else name) in self._taken:
            index += 1
        self._uses[name] = index
        self._taken.add(text)
        return StepId(name, index, hash_id(text))


def hash_id(text: str) -> str:
    """The id the server knows a step by."""
    return sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Op:
    """What a step asks of the server.

    `kind` is the op when it is reported and not run: "StepPlanned" for steps with a body of ours,
    else "Sleep", "WaitForEvent", "InvokeFunction". `title` is the wire's `name`. `arguments` are
    what the body is called with, for the server to show and to let people edit. The repr leaves
    out `opts`: they may hold keys, such as a provider's or those in headers.
    """

    kind: str
    title: str
    opts: Mapping[str, Any] = field(repr=False)
    arguments: tuple[Any, ...] = ()

    @property
    def runs_here(self) -> bool:
        """Whether the step has a body that this process runs."""
        return self.kind == "StepPlanned"


def op_json(
    step: StepId, op: Op, kind: str, name: str | None = None, **outcome: Any
) -> dict[str, Any]:
    """The op as it travels. `name` is what people read, if not the id. `outcome` is `data` or
    `error`; a planned op has null data."""
    userland: dict[str, Any] = {"id": step.name}
    if step.index:
        userland["index"] = step.index
    return {
        "op": kind,
        "id": step.hashed,
        "name": op.title,
        "displayName": name or step.name,
        "userland": userland,
        "opts": {**op.opts, **_input(op.arguments)},
        **(outcome or {"data": None}),
    }


def _input(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The arguments as an op tells them, if they are JSON and not too large: they are there for
    people to read, and must not keep the op from travelling."""
    try:
        fits = len(dumps(arguments)) <= MAX_INPUT
    except (TypeError, ValueError, RecursionError):
        fits = False
    return {"input": list(arguments)} if arguments and fits else {}


def run_op(step_id: str, arguments: tuple[Any, ...] = (), kind: str = "step.run") -> Op:
    """A step whose body runs here."""
    return Op("StepPlanned", step_id, {"type": kind}, arguments)


def sleep_op(duration: str) -> Op:
    """A pause. `duration` is a Go duration or an RFC 3339 date."""
    return Op("Sleep", duration, {"duration": duration})


def wait_op(step_id: str, event: str, if_exp: str | None, timeout: str) -> Op:
    """A wait for an event; exactly these opts (wire.md A9)."""
    opts = {"event": event, "timeout": timeout}
    if if_exp is not None:
        opts["if"] = if_exp
    return Op("WaitForEvent", step_id, opts)


def invoke_op(
    step_id: str,
    function_id: str,
    data: Mapping[str, Any] | None,
    timeout: str | None,
    v: str | None,
) -> Op:
    """A call of another function. A payload is always there: a server without it hangs (T8)."""
    payload: dict[str, Any] = {"data": dict(data or {})}
    if v is not None:
        payload["v"] = v
    opts: dict[str, Any] = {"function_id": function_id, "payload": payload}
    if timeout is not None:
        opts["timeout"] = timeout
    return Op("InvokeFunction", step_id, opts)
