"""What docs/features.md says and no other test shows by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from inngest_sdk.steps import hash_id
from inngest_serverless import Context, Event, TriggerEvent, asgi
from tests.sdk.play import Mode, app, both, define
from tests.sdk.test_client import event_server

Steps = Generator[Any, Any, Any]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_events_are_sent_once_as_a_step_and_their_ids_remembered(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        sent = yield ctx.step.send_event("tell", [Event(name="a/x"), Event(name="a/y")])
        yield ctx.step.sleep("nap", "1h")
        return sent

    with event_server() as server:  # its ids are the names of the events
        run = define(both(mode, f), app(event_api_base_url=server.url))
        assert run.finish() == ["a/x", "a/y"]

    assert [status for _, status in run.calls] == [206, 206, 200]
    assert [len(events) for _, events in server.received] == [2]
    [op] = json.loads(run.answers[0].body)
    assert (op["op"], op["opts"]) == ("StepRun", {"type": "step.sendEvent"})


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_function_without_a_trigger_is_there_to_be_invoked(mode: Mode) -> None:
    def double(ctx: Any) -> Steps:
        return (yield ctx.step.run("double", lambda: ctx.event.data["n"] * 2))

    called = define(both(mode, double), trigger=[])
    [registered] = called.function.configs("http://app/api/inngest")
    assert registered["triggers"] == []

    def f(ctx: Any) -> Steps:
        return (yield ctx.step.invoke("call", function=called.function, data={"n": 4}))

    [asked] = define(both(mode, f), called.client, fn_id="caller").ops()
    assert asked["opts"]["function_id"] == registered["id"]
    event = {"name": "inngest/function.invoked", **asked["opts"]["payload"]}
    [done] = called.ops(event=event, events=[event])
    assert (done["id"], done["data"]) == (hash_id("double"), 8)


def test_an_app_mounted_in_fastapi_is_called() -> None:
    client = app()

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
    async def order(ctx: Context) -> object:
        return {"paid": ctx.event.data["total"]}

    web = FastAPI()
    web.mount("/api/inngest", asgi.serve(client))
    call = {
        "event": {"name": "shop/order.placed", "data": {"total": 9}},
        "ctx": {"run_id": "01RUN", "attempt": 0, "stack": {"stack": [], "current": 0}},
    }

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(web)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as caller:
            path = "/api/inngest/"
            target = {"fnId": "shop-order", "stepId": "step"}
            return await caller.get(path), await caller.post(path, params=target, json=call)

    described, answered = asyncio.run(ask())
    assert described.json()["extra"]["request_url"] == "http://shop/api/inngest/"
    assert (answered.status_code, answered.json()) == (200, {"paid": 9})
