"""Checkpoints: the server hears of steps while the function goes on (wire.md A14).

Without them a function of N steps is called N + 1 times: each call replays, runs one step and
reports it. With them a step that has run is posted to the server, and its value handed to user
code at once: one call runs as many steps as there is time for. What is not posted travels in the
call's own answer, as if there were no checkpoints, so nothing is lost:

    posted           go on
    409 (stale)      another call of the same work has taken over: stop, and report nothing
    anything else    stop, and report the steps that were not posted; a server without the endpoint
                     (404, 405) is not asked again

A failed step, a plan, a wait and an error of the function are never posted: each ends the call.
Before it is told, buffered steps are posted; if that fails they are told instead, and the next
call comes to the same point again. The function's result travels together with them.

Time: no step starts that may not end before the platform's deadline, or after `max_runtime`. Such
a step is reported as planned, and the server calls for it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from inngest_sdk import wire
from inngest_sdk.api import fetch_with_keys, retried
from inngest_sdk.config import Config
from inngest_sdk.duration import Duration, length
from inngest_sdk.effects import Flow, Outcome, Reported, Returned, now
from inngest_sdk.errors import (
    FunctionConfigInvalidError,
    SecretUnavailableError,
    UnreachableError,
)
from inngest_sdk.http import Request, dumps

MAX_RUNTIME = 300.0  # seconds, where neither the app nor the platform says less
MARGIN = 0.5  # seconds before the platform's deadline by which the answer should be on its way
SLACK = 1.5  # how much longer than the longest so far a step is taken to be
TRIES = 3
MAX_POST_SECONDS = 10.0  # for one try of a post
MAX_BUFFER = 1024 * 1024  # bytes of buffered values from which they are posted at once
MAX_RIDING = 65_536  # bytes of buffered values that may travel with the function's result


@dataclass(frozen=True, kw_only=True)
class Checkpointing:
    """How often steps are posted, and for how long one call goes on.

    Steps are posted when `buffered_steps` have run, or `max_interval` has passed since the last
    post (0: never for that reason). A step that is not posted yet runs again if the process is
    killed. No step starts once `max_runtime` has passed since the call began: by default 5 minutes,
    and never more than the platform allows.

    Raises FunctionConfigInvalidError.
    """

    buffered_steps: int = 1
    max_interval: Duration = 0
    max_runtime: Duration = 300_000

    def __post_init__(self) -> None:
        if isinstance(self.buffered_steps, bool) or self.buffered_steps < 1:
            raise FunctionConfigInvalidError(
                f"Checkpointing.buffered_steps is {self.buffered_steps!r}; the least allowed is 1"
            )
        for option in ("max_interval", "max_runtime"):
            self.seconds(option)

    def seconds(self, option: str) -> float:
        """One of the two times, in seconds."""
        try:
            seconds = length(getattr(self, option)).total_seconds()
        except ValueError as error:
            raise FunctionConfigInvalidError(f"Checkpointing.{option}: {error}") from None
        if seconds < 0:
            raise FunctionConfigInvalidError(f"Checkpointing.{option} is negative")
        return seconds


def settled(checkpointing: Checkpointing | bool) -> Checkpointing | None:
    """The policy that an argument means; None for none."""
    if isinstance(checkpointing, Checkpointing):
        return checkpointing
    return _DEFAULT if checkpointing else None


_DEFAULT = Checkpointing()


@dataclass
class Server:
    """What is known of the server's checkpoint endpoint: whether it has one."""

    config: Config
    has_checkpoints: bool = True


@dataclass
class Checkpoints:
    """The steps of one call that the server is told of before the call ends.

    `started` and `deadline` are Unix seconds.
    """

    server: Server
    call: wire.Call
    policy: Checkpointing
    started: float
    deadline: float | None = None
    state: Literal["open", "closed", "stale"] = "open"
    buffer: list[dict[str, Any]] = field(default_factory=list)
    _ran: int = field(default=0, init=False)
    _size: int = field(default=0, init=False)
    _began: float = field(default=0.0, init=False)
    _longest: float = field(default=0.0, init=False)
    _posted: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._posted = self.started

    def begin_step(self) -> Flow[bool]:
        """Note that a step is to start; False if there is no time for it. There always is for
        the first: a call that does nothing would be followed by another such call."""
        self._began = yield from now()
        return not self._ran or self._began + self._longest * SLACK <= self._end()

    def _end(self) -> float:
        end = self.started + self.policy.seconds("max_runtime")
        return end if self.deadline is None else min(end, self.deadline - MARGIN)

    def end_step(self, op: dict[str, Any], size: int) -> Flow[bool]:
        """Keep a step that has run, and whose value has this many bytes; whether the function may
        go on."""
        at = yield from now()
        self._ran += 1
        self._longest = max(self._longest, at - self._began)
        self.buffer.append(op)
        self._size += size
        interval = self.policy.seconds("max_interval")
        full = len(self.buffer) >= self.policy.buffered_steps or self._size > MAX_BUFFER
        if full or (interval and at - self._posted >= interval):
            return (yield from self._post(at))
        return self.state == "open"

    def conclude(self, outcome: Outcome) -> Flow[Outcome]:
        """The outcome of the call, with what the server has not heard of."""
        if self.state == "stale" or not self.buffer:
            return self._untold() if self.state == "stale" else outcome
        if isinstance(outcome, Returned) and self._size <= MAX_RIDING:
            return replace(outcome, ops=tuple(self.buffer))
        tells_more = not isinstance(outcome, Reported) or bool(outcome.ops)
        if tells_more and self.state == "open" and (yield from self._post((yield from now()))):
            return outcome
        return self._untold()

    def _untold(self) -> Reported:
        return Reported(() if self.state == "stale" else tuple(self.buffer))

    def _post(self, at: float) -> Flow[bool]:
        timeout = self._timeout(at)
        if timeout <= 0:
            self.state = "closed"
            return False
        try:
            request = partial(fetch_with_keys, self._request(at), self.server.config, timeout)
            response = yield from retried(request, TRIES)
        except (SecretUnavailableError, UnreachableError):
            self.state = "closed"
            return False
        if 200 <= response.status < 300:
            self.buffer.clear()
            self._size = 0
            self._posted = at
            return True
        if response.status in (404, 405):
            self.server.has_checkpoints = False
        self.state = "stale" if response.status == 409 else "closed"
        return False

    def _timeout(self, at: float) -> float:
        """Seconds for each try: all of them fit before the deadline, and so does the answer."""
        timeout = min(MAX_POST_SECONDS, self.server.config.request_timeout)
        if self.deadline is None:
            return timeout
        return min(timeout, (self.deadline - MARGIN - at) / TRIES)

    def _request(self, at: float) -> Request:
        call, config = self.call, self.server.config
        body: Mapping[str, Any] = {
            "run_id": call.run_id,
            "fn_id": call.fn_uuid,
            "qi_id": call.qi_id,
            "request_id": call.request_id,
            "generation_id": call.generation,
            "request_started_at": int(self.started * 1000),
            "ts": int(at * 1000),
            "steps": self.buffer,
        }
        headers = {**call.trace, "content-type": "application/json", "x-inngest-sdk": wire.SDK}
        if config.env is not None:
            headers["x-inngest-env"] = config.env
        url = f"{config.api_origin}/v1/checkpoint/{call.run_id}/async"
        return Request("POST", url, headers, dumps(body))


def allowed(call: wire.Call, target: str | None) -> bool:
    """Whether this call may have checkpoints: the server said who it is, wants no single step, and
    no plan; and nothing has failed, for a retried call answers step by step (wire.md JS4)."""
    return bool(
        call.fn_uuid and call.qi_id and target is None and not call.planning and call.attempt == 0
    )
