"""Two hundred steps of a second each, where the platform gives a call fifteen: in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from inngest_sdk.effects import Fetch, Flow, Invoke, Now
from inngest_sdk.endpoint import serve
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless import Checkpointing
from tests.sdk.play import FRONT, Mode, app, both, define

Steps = Generator[Any, Any, Any]
STEPS, LIMIT = 200, 15.0


@dataclass
class World:
    """A clock that only steps move, and a server that takes checkpoints."""

    now: float = 1_000.0
    saved: dict[str, Any] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def keep(self, ops: list[dict[str, Any]]) -> None:
        for op in ops:
            if op["op"] == "StepRun":
                self.saved[op["id"]] = {"data": op["data"]}
                self.order.append(op["id"])

    def answer(self, effect: Any) -> Any:
        match effect:
            case Now():
                return self.now
            case Fetch(request):
                self.keep(json.loads(request.body)["steps"])
                return Response(200, {}, b"{}")
            case Invoke(invocation) if invocation.is_async:
                return asyncio.run(invocation.run_async(self.drive_async))
            case Invoke(invocation):
                return invocation.run(self.drive)

    def drive(self, flow: Flow[Any]) -> Any:
        try:
            effect = next(flow)
            while True:
                effect = flow.send(self.answer(effect))
        except StopIteration as stop:
            return stop.value

    async def drive_async(self, flow: Flow[Any]) -> Any:
        return self.drive(flow)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("buffered", [1, 4])
def test_two_hundred_seconds_of_steps_end_under_a_limit_of_fifteen(
    mode: Mode, buffered: int
) -> None:
    world = World()
    ran: list[int] = []

    def work(number: int) -> int:
        world.now += 1.0
        ran.append(number)
        return number

    def f(ctx: Any) -> Steps:
        total = 0
        for number in range(STEPS):
            total += yield ctx.step.run(f"step-{number}", work, number)
        return total

    run = define(both(mode, f), app(), checkpointing=Checkpointing(buffered_steps=buffered))
    ends: list[float] = []
    target, answer = "step", Response(500)
    while answer.status != 200:
        started = world.now
        answer = world.drive(
            serve(
                run.client,
                _request(run.function.id, target, world),
                FRONT,
                now=started,
                deadline=started + LIMIT,
            )
        )
        ends.append(world.now - started)
        ops = json.loads(answer.body) if answer.status == 206 else []
        world.keep(ops)
        target = ops[-1]["id"] if ops and ops[-1]["op"] == "StepPlanned" else "step"
        assert len(ends) < STEPS / 5
    assert json.loads(answer.body) == sum(range(STEPS))
    assert ran == list(range(STEPS))
    assert max(ends) < LIMIT


def _request(function: str, target: str, world: World) -> Request:
    event = {"name": "a/b", "data": {}, "id": "e", "ts": 1}
    stack = {"stack": world.order, "current": len(world.order)}
    who = {"fn_id": "f", "qi_id": "q", "request_id": "r", "run_id": "01RUN"}
    ctx = {**who, "attempt": 0, "max_attempts": 4, "stack": stack}
    body = {"ctx": ctx, "event": event, "events": [event], "steps": world.saved}
    url = f"http://app/?fnId={function}&stepId={target}"
    return Request("POST", url, {}, dumps(body))
