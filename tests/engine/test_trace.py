"""Traces: what a run was told, for running it again (`GET /v1/runs/{id}/trace`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from inngest_serverless.engine.api import create_api
from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.model import Call, Finished, Ops, Reply

from .scripted import (
    Boom,
    Flow,
    Scripted,
    Stage,
    StepFailed,
    fetch,
    gather,
    hashed,
    invoke,
    race,
    run,
    signal,
    sleep,
    wait,
)
from .test_api import UNKNOWN, is_common_error, with_client
from .test_api import Client as Api

Get = Callable[[str], Awaitable[Any]]


def staged(app: Scripted, act: Callable[[Stage, Get], Awaitable[None]]) -> None:
    """Run an act with a stage, and with what reads the trace of a function's one run."""

    async def main() -> None:
        clock = ManualClock()
        async with app.engine(clock) as engine:
            app.register(engine)
            stage = Stage(app, engine, clock)
            transport = httpx.ASGITransport(create_api(engine, clock=clock))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:

                async def trace(slug: str) -> Any:
                    answer = await http.get(f"/v1/runs/{stage.run(slug).run_id}/trace")
                    assert answer.status_code == 200, answer.text
                    return answer.json()

                await asyncio.wait_for(act(stage, trace), 20)

    asyncio.run(main())


def refuses() -> Any:
    raise Boom("no", final=True)


def every_kind(event: dict[str, Any]) -> Flow:
    yield gather(run("a", lambda: 1.0), run("b"), sleep("nap", "10s"))
    yield wait("event", "test/go", "1m")
    yield wait("no event", "test/never", "1s")
    yield invoke("child", "child", {"n": 2})
    yield signal("signal", "go")
    for failing in (fetch("page"), run("bad", refuses)):
        try:
            yield failing
        except StepFailed:
            continue
    return event["data"]


def child(event: dict[str, Any]) -> Flow:
    return event["data"]["n"]
    yield


def test_a_trace_holds_each_step_in_the_order_of_completion_and_what_it_came_to() -> None:
    async def act(stage: Stage, trace: Get) -> None:
        await stage.send("test/f", data={"x": 2**53 + 1}, id="mine")
        await stage.advance(10_000)
        await stage.send("test/go", data={"y": 1}, id="go")
        await stage.advance(1_000)
        stage.engine.signal("go", 3)
        await stage.engine.idle()
        found = await trace("f")
        assert found.keys() == {
            *("run_id", "function_id", "status", "event", "events", "steps", "open", "output")
        }
        assert (found["function_id"], found["status"]) == ("f", "Completed")
        assert found["run_id"] == stage.run("f").run_id
        assert (found["event"]["id"], found["events"]) == ("mine", [found["event"]])
        assert found["output"] == {"x": 2**53}, "numbers are those that the app was given"
        assert found["open"] == []
        named = [(step["name"], step["op"]) for step in found["steps"]]
        assert named == [
            ("a", "StepRun"),
            ("b", "StepRun"),
            ("nap", "Sleep"),
            ("event", "WaitForEvent"),
            ("no event", "WaitForEvent"),
            ("child", "InvokeFunction"),
            ("signal", "WaitForSignal"),
            ("page", "Gateway"),
            ("bad", "StepRun"),
        ]
        assert [step["id"] for step in found["steps"]] == [hashed(name) for name, _ in named]
        memos = {step["name"]: step["memo"] for step in found["steps"]}
        assert memos["a"] == {"data": 1}
        assert memos["nap"] is None
        assert (memos["event"]["id"], memos["no event"]) == ("go", None)
        assert memos["child"] == {"data": 2}
        assert memos["signal"] == {"data": {"signal": "go", "data": 3}}
        assert memos["page"]["error"]["name"] == "GatewayError"
        assert memos["bad"]["error"]["message"] == "no"

    staged(Scripted().add("f", every_kind).add("child", child), act)


def test_the_trace_of_an_open_run_names_what_has_not_finished() -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield run("first")
        yield gather(sleep("nap", "1h"), wait("event", "x"), run("flaky", flaky), signal("s", "s"))

    def flaky() -> Any:
        raise Boom

    async def act(stage: Stage, trace: Get) -> None:
        await stage.send("test/f")
        found = await trace("f")
        assert (found["status"], found["output"]) == ("Running", None)
        assert [step["name"] for step in found["steps"]] == ["first"]
        assert sorted((step["name"], step["op"]) for step in found["open"]) == [
            ("event", "WaitForEvent"),
            ("flaky", "StepRun"),
            ("nap", "Sleep"),
            ("s", "WaitForSignal"),
        ]
        assert {step["id"] for step in found["open"]} == {
            *map(hashed, ("event", "flaky", "nap", "s"))
        }
        assert not any("memo" in step for step in found["open"])

    staged(Scripted().add("f", body, retries=2), act)


@pytest.mark.parametrize("how", ["cancelled", "raced"])
def test_what_a_run_left_undone_when_it_ended_is_still_open(how: str) -> None:
    def body(_: dict[str, Any]) -> Flow:
        yield race(run("quick"), sleep("long", "1h"), wait("event", "x"))
        if how == "cancelled":
            yield gather(sleep("longer", "2h"), wait("other", "y"))
        return "done"

    async def act(stage: Stage, trace: Get) -> None:
        await stage.send("test/f")
        stage.engine.cancel(stage.run("f").run_id)
        found = await trace("f")
        assert found["status"] == ("Cancelled" if how == "cancelled" else "Completed")
        assert [step["name"] for step in found["steps"]] == ["quick"]
        more = ["longer", "other"] if how == "cancelled" else []
        assert sorted(step["name"] for step in found["open"]) == ["event", "long", *more]

    staged(Scripted().add("f", body), act)


def test_a_step_that_was_planned_and_never_called_for_is_open_too() -> None:
    planned = [
        {"op": "StepPlanned", "id": hashed(name), "displayName": name, "opts": {}} for name in "ab"
    ]

    async def caller(call: Call) -> Reply:
        return Ops((*planned, {"op": "RunComplete", "id": "c", "data": 1}), 2)

    async def act(client: Api) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a")
        await client.engine.idle()
        found = await client.get(f"/v1/runs/{run_id}/trace")
        assert (found["status"], found["steps"]) == ("Completed", [])
        assert [(step["name"], step["op"]) for step in found["open"]] == [
            ("a", "StepRun"),
            ("b", "StepRun"),
        ]

    with_client(act, caller)


def test_a_step_is_called_by_its_display_name_everywhere() -> None:
    async def caller(call: Call) -> Reply:
        if call.steps:
            return Finished("done")
        step = {"displayName": "Charge the card", "name": "charge", "userland": {"id": "charge"}}
        nap = {"op": "Sleep", "id": hashed("nap"), "opts": {"duration": "1h"}, "name": "1h"}
        named = {"displayName": "Let it rest", "userland": {"id": "nap"}}
        ran = {"op": "StepRun", "id": hashed("charge"), "data": 1}
        return Ops(({**ran, **step}, {**nap, **named}), 2)

    async def act(client: Api) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a")
        await client.engine.idle()
        lines = (await client.get(f"/api/runs/{run_id}"))["timeline"]
        names = [line["name"] for line in lines if line["kind"] != "Function"]
        assert names == ["Charge the card", "Let it rest"]
        found = await client.get(f"/v1/runs/{run_id}/trace")
        assert [step["name"] for step in found["steps"]] == ["Charge the card"]
        assert [step["name"] for step in found["open"]] == ["Let it rest"]

    with_client(act, caller)


def test_there_is_no_trace_of_what_is_no_run() -> None:
    async def act(client: Api) -> None:
        is_common_error(await client.http.get(f"/v1/runs/{UNKNOWN}/trace"), 404)
        is_common_error(await client.http.get("/v1/runs/x/trace"), 400)

    with_client(act)
