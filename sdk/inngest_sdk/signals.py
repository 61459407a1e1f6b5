"""Signals: a named wait of one run, and what ends it (wire.md A9, A10, A12). Knows no transport.

A signal goes to the one run that waits for its name at that moment. It is not kept: sent before
anybody waits, it is lost. Where that may happen, or several runs should hear, send an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from inngest_sdk import rest, wire
from inngest_sdk.config import Config
from inngest_sdk.effects import Flow
from inngest_sdk.errors import (
    FunctionConfigInvalidError,
    NonRetriableError,
    SendSignalError,
    SignalNotAwaitedError,
    UnreachableError,
)
from inngest_sdk.http import dumps
from inngest_sdk.steps import Op

Conflict: TypeAlias = Literal["fail", "replace"]

# The data becomes the output of the waiting step (wire.md T12).
MAX_SIGNAL_BYTES = wire.MAX_STEP_OUTPUT


@dataclass(frozen=True)
class Signal:
    """A signal that came. `data` is what the sender gave, None included; so a wait that timed out,
    which gives no Signal, is told from one."""

    name: str
    data: Any


def signal_wait_op(step_id: str, signal: str, timeout: str, conflict: Conflict = "fail") -> Op:
    """A wait for a signal, for at most `timeout`, a Go duration.

    `conflict` says what happens while another run waits for the same signal: "fail" fails this
    run, "replace" takes the wait over, and the other one times out.

    Raises FunctionConfigInvalidError.
    """
    if problem := _name_problem(signal):
        raise FunctionConfigInvalidError(f"step {step_id!r}: {problem}")
    if conflict not in ("fail", "replace"):
        raise FunctionConfigInvalidError(
            f"step {step_id!r}: conflict is {conflict!r}; it takes 'fail' or 'replace'"
        )
    opts = {"signal": signal, "timeout": timeout, "conflict": conflict}
    return Op("WaitForSignal", signal, opts)


def signal_from(step_id: str, memo: object) -> Signal | None:
    """Read what a wait came to: the signal, or None after its timeout.

    Raises NonRetriableError for the memo of another kind of step.
    """
    if memo is None:
        return None
    if not isinstance(memo, dict) or not isinstance(memo.get("signal"), str):
        raise NonRetriableError(
            f"step {step_id!r} waits for a signal, but what it came to is none. Was it another "
            "kind of step when this run began? Give the new one another id."
        )
    return Signal(memo["signal"], memo.get("data"))


def send_signal_flow(config: Config, signal: str, data: object = None) -> Flow[str]:
    """Send a signal to the run that waits for it, and return that run's id.

    Tried five times when the server cannot be reached, is busy (429) or broken (5xx).

    Raises SignalNotAwaitedError when no run waits, SendSignalError for what cannot be sent or was
    not taken, and ConfigError without a signing key in cloud mode.
    """
    body = _body(signal, data)
    try:
        answer = yield from rest.post(config, "/v1/signals", body)
    except UnreachableError as error:
        raise SendSignalError(
            f"signal {signal!r} was not sent, as far as is known: {error}, in {rest.TRIES} tries"
        ) from error
    return _run_id(signal, answer)


def _name_problem(signal: object) -> str | None:
    if isinstance(signal, str) and signal.strip():
        return None
    return f"the name of the signal is {signal!r}; it takes a text that is not blank"


def _body(signal: str, data: object) -> bytes:
    if problem := _name_problem(signal):
        raise SendSignalError(f"{problem}; nothing was sent")
    try:
        size = len(dumps(data))
        body = dumps({"signal": signal, "data": data})
    except (TypeError, ValueError, RecursionError) as error:
        raise SendSignalError(
            f"signal {signal!r} is not JSON: {error}; nothing was sent"
        ) from error
    if size > MAX_SIGNAL_BYTES:
        raise SendSignalError(
            f"signal {signal!r} has {size:,} bytes of data; a step takes {MAX_SIGNAL_BYTES:,} at "
            "most: put the large part into a store and its address into the signal; nothing was "
            "sent"
        )
    return body


def _run_id(signal: str, answer: rest.Answer) -> str:
    # Of a 404 without the server's own words, something else is the cause: a wrong address.
    if answer.response.status == 404 and answer.body.get("error"):
        raise SignalNotAwaitedError(_not_awaited(signal, answer))
    data = answer.body.get("data")
    run_id = data.get("run_id") if isinstance(data, dict) else None
    if answer.accepted and isinstance(run_id, str) and run_id:
        return run_id
    raise SendSignalError(f"signal {signal!r} was not taken: {answer.problem}")


def _not_awaited(signal: str, answer: rest.Answer) -> str:
    message = (
        f"no run waits for signal {signal!r}. A signal is not kept: send it once the run has "
        "reached its wait, or send an event"
    )
    if answer.tries == 1:
        return message
    # The route cannot tell a second try from a second signal.
    return f"{message}. An earlier try may have reached a run: this was number {answer.tries}"
