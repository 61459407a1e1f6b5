"""A server of forty lines: calls a function until it ends, as a real one does, and keeps notes.

`both` lets a scenario be written once and run as a sync and as an async function: its body is a
generator that yields what an async function awaits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from inngest_sdk.drive import drive
from inngest_sdk.endpoint import Entrypoint, serve
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless import Function, Inngest, TriggerEvent

NOW = 1_795_347_346.0
FRONT = Entrypoint("test", "test")
Mode = Literal["sync", "async"]
Body = Callable[[Any], Generator[Any, Any, Any]]


def app(**options: Any) -> Inngest:
    """A client in dev mode, untouched by the environment."""
    return Inngest(app_id="shop", is_production=False, **options)


def both(mode: Mode, body: Body) -> Callable[[Any], Any]:
    """The body as a user function of this mode."""

    def sync_function(ctx: Any) -> Any:
        return _exhaust(body(ctx))

    async def async_function(ctx: Any) -> Any:
        generator = body(ctx)
        try:
            awaited = next(generator)
            while True:
                try:
                    value = await awaited
                except Exception as error:
                    awaited = generator.throw(error)
                else:
                    awaited = generator.send(value)
        except StopIteration as stop:
            return stop.value

    return sync_function if mode == "sync" else async_function


def _exhaust(generator: Generator[Any, Any, Any]) -> Any:
    try:
        value = next(generator)
        while True:
            value = generator.send(value)
    except StopIteration as stop:
        return stop.value


def define(handler: Callable[[Any], Any], client: Inngest | None = None, **options: Any) -> Played:
    """The handler as the function `shop-f` of an app of its own, ready to be called."""
    client = client or app()
    options = {"fn_id": "f", "trigger": TriggerEvent(event="a/b"), **options}
    return Played(client, client.create_function(**options)(handler))


@dataclass
class Played:
    """A function and what a server knows of one run of it."""

    client: Inngest
    function: Function[Any]
    steps: dict[str, Any] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)
    calls: list[tuple[str, int]] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    max_attempts: int | None = 4
    now: float = NOW
    deadline: float | None = None

    def call(
        self,
        step: str = "step",
        *,
        attempt: int = 0,
        planning: bool = False,
        ctx: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Response:
        """One call, with what is known of the run by now."""
        event = {"name": "a/b", "data": {"n": 1}, "id": "e", "ts": 1, "user": {}}
        body = {
            "ctx": {
                "run_id": "01RUN",
                "attempt": attempt,
                "max_attempts": self.max_attempts,
                "stack": {"stack": self.stack, "current": len(self.stack)},
                "disable_immediate_execution": planning,
                **(ctx or {}),
            },
            "event": event,
            "events": [event],
            "steps": self.steps,
            **fields,
        }
        url = f"http://app/api/inngest?fnId={self.function.id}&stepId={step}"
        request = Request("POST", url, {}, dumps(body))
        answer = drive(serve(self.client, request, FRONT, now=self.now, deadline=self.deadline))
        self.calls.append((step, answer.status))
        self.answers.append(answer)
        return answer

    def ops(self, step: str = "step", **options: Any) -> list[dict[str, Any]]:
        """The ops that one call reports."""
        answer = self.call(step, **options)
        assert answer.status == 206, answer
        found: list[dict[str, Any]] = json.loads(answer.body)
        return found

    def memo(self, op: Mapping[str, Any], value: Any) -> None:
        """Remember a step's result, as finished now."""
        self.steps[op["id"]] = value
        self.stack.append(op["id"])

    def finish(self, memos: Mapping[str, Any] | None = None, order: Sequence[str] = ()) -> Any:
        """Call until the function returns, and give what it returned.

        `memos` are the values of waits and invokes by step id; planned steps run in `order`.
        """
        memos = memos or {}
        for _ in range(100):
            answer = self.call()
            if answer.status == 200:
                return json.loads(answer.body)
            assert answer.status == 206, answer
            self._perform(json.loads(answer.body), memos, order)
        raise AssertionError("the function does not end")

    def _perform(
        self, ops: list[dict[str, Any]], memos: Mapping[str, Any], order: Sequence[str]
    ) -> None:
        place = {name: index for index, name in enumerate(order)}
        for op in sorted(ops, key=lambda op: place.get(op["displayName"], 0)):
            if op["op"] == "StepPlanned":
                [op] = self.ops(op["id"], planning=True)
            if op["op"] == "StepRun":
                self.memo(op, {"data": op["data"]})
            elif op["op"] == "StepFailed":
                self.memo(op, {"error": op["error"]})
            elif op["op"] != "StepError":
                self.memo(op, memos.get(op["displayName"]))
