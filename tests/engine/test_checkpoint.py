"""Checkpoints through a real app, the engine and loopback HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from inngest_serverless import Context, ContextSync, Inngest, TriggerEvent, asgi
from inngest_serverless.asgi import ASGIApp, Receive, Scope, Send
from inngest_serverless.engine.api import create_api
from inngest_serverless.engine.checkpoint import read_checkpoint
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.model import Call, Failed, Finished, Reply, RunRow
from inngest_serverless.engine.server import DevOptions, DevServer

from .serving import registration, serving

STEPS = 20


class Counted:
    """An app, and how often it was called."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += scope["type"] == "http" and scope["method"] == "POST"
        await self._app(scope, receive, send)


async def run_to_end(
    engine: DevServer, define: Callable[[Inngest], None], **settings: Any
) -> tuple[RunRow, int]:
    """Run the one function of an app; its run, and how many calls that took."""
    client = Inngest(app_id="shop", is_production=False, api_base_url=engine.url, **settings)
    define(client)
    app = Counted(asgi.serve(client))
    async with serving(app) as url:
        assert await engine.sync.sync(f"{url}/api/inngest") is None
        event = engine.engine.new_event(name="a/b", data={})
        engine.engine.ingest([event])
        while (run := engine.engine.runs_of_event(event.internal_id)[0]).ended_ms is None:
            await asyncio.sleep(0.01)
        return run, app.calls


def with_engine(act: Callable[[DevServer], Awaitable[None]]) -> None:
    async def go() -> None:
        options = DevOptions(port=0, discovery=False, poll_seconds=0, retry_interval_ms=10)
        async with DevServer(options) as engine:
            await act(engine)

    asyncio.run(go())


def sequential(client: Inngest) -> None:
    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    async def f(ctx: Context) -> int:
        return sum([await ctx.step.run(f"s{n}", lambda: 1) for n in range(STEPS)])


def sequential_sync(client: Inngest) -> None:
    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: ContextSync) -> int:
        return sum([ctx.step.run(f"s{n}", lambda: 1) for n in range(STEPS)])


@pytest.mark.parametrize("define", [sequential, sequential_sync])
@pytest.mark.parametrize(("checkpointing", "calls"), [(True, 1), (False, STEPS + 1)])
def test_n_sequential_steps_are_one_call_with_checkpoints_and_n_plus_one_without(
    define: Callable[[Inngest], None], checkpointing: bool, calls: int
) -> None:
    async def act(engine: DevServer) -> None:
        run, made = await run_to_end(engine, define, checkpointing=checkpointing)
        assert (run.status, run.output, made) == ("Completed", STEPS, calls)
        kinds = [(row.kind, row.status) for row in engine.engine.timeline(run.run_id)]
        assert kinds == [("StepRun", "Completed")] * STEPS + [("Function", "Completed")]

    with_engine(act)


def test_a_step_that_fails_after_others_is_retried_and_they_are_not() -> None:
    ran: list[str] = []

    def define(client: Inngest) -> None:
        @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
        async def f(ctx: Context) -> list[str]:
            def step(name: str) -> str:
                ran.append(name)
                if name == "b" and ran.count("b") == 1:
                    raise ValueError("the first time")
                return name

            return [await ctx.step.run(name, step, name) for name in "abc"]

    async def act(engine: DevServer) -> None:
        run, calls = await run_to_end(engine, define)
        assert run.output == ["a", "b", "c"]
        assert ran == ["a", "b", "b", "c"]
        # a and the failing b; b again, which as a retry answers at once; c and the end.
        assert calls == 3

    with_engine(act)


def test_a_function_goes_on_after_a_sleep_and_a_parallel_section() -> None:
    def define(client: Inngest) -> None:
        @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
        async def f(ctx: Context) -> list[int]:
            a = await ctx.step.run("a", lambda: 1)
            await ctx.step.sleep("nap", 10)
            b, c = await asyncio.gather(ctx.step.run("b", lambda: 2), ctx.step.run("c", lambda: 3))
            return [a, b, c, await ctx.step.run("d", lambda: 4), await ctx.step.run("e", lambda: 5)]

    async def act(engine: DevServer) -> None:
        run, calls = await run_to_end(engine, define)
        assert run.output == [1, 2, 3, 4, 5]
        # a and the sleep; the plan of b and c; b; c; d, e and the end.
        assert calls == 5

    with_engine(act)


def test_a_checkpoint_of_a_call_that_is_over_is_a_409() -> None:
    async def act(engine: DevServer) -> None:
        run, _ = await run_to_end(engine, sequential)
        body = {"qi_id": base64.b64encode(b"job::default").decode(), "steps": []}
        async with httpx.AsyncClient(base_url=engine.url) as http:
            for path, status in (
                (f"/v1/checkpoint/{run.run_id}/async", 409),
                (f"/v1/http/runs/{run.run_id}/async", 409),
                ("/v1/checkpoint/01HF7YAT00000G40R40M30E20A/async", 400),
            ):
                assert (await http.post(path, json=body)).status_code == status

    with_engine(act)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Expecting value"),
        (b"[]", "the body must be an object"),
        (b"{}", "steps must be a list of ops"),
        (b'{"steps":[1]}', "steps must be a list of ops"),
        (b'{"steps":[]}', "qi_id is None"),
        (b'{"steps":[],"qi_id":"***"}', r"qi_id is '\*\*\*'"),
        (json.dumps({"steps": [], "qi_id": "am9i"}).encode(), "qi_id is 'am9i'"),
        (b'{"steps":[{"op":"StepRun"},{}]}', "step 1 is None, not one of StepRun, Step,"),
    ],
)
def test_a_malformed_checkpoint_says_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_checkpoint(body)


# ── what the route takes, op by op (wire.md A14) ─────────────────────────────────────────────────

STEP = {"op": "StepRun", "id": "a" * 40, "displayName": "Shown", "userland": {"id": "meant"}}


def checkpointing(
    post: Callable[[Callable[..., Awaitable[httpx.Response]], Call], Awaitable[None]],
    retries: int = 0,
) -> list[Any]:
    """Run a function whose first call posts checkpoints and fails; the names in its timeline."""

    async def go() -> list[Any]:
        calls: list[Call] = []

        async def caller(call: Call) -> Reply:
            calls.append(call)
            if len(calls) > 1 and len(calls) > retries:
                return Finished("done")

            async def send(*ops: Any, **fields: Any) -> httpx.Response:
                qi_id = base64.b64encode(f"{call.job_id}::default".encode()).decode()
                body = {"qi_id": qi_id, "steps": ops, **fields}
                return await http.post(f"/v1/checkpoint/{call.run_id}/async", json=body)

            await post(send, call)
            return Failed({"name": "E", "message": "m"}, "raw")

        async with Engine(caller, EngineOptions(retry_interval_ms=1)) as engine:
            transport = httpx.ASGITransport(create_api(engine))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
                body = registration("http://localhost:9001/x", "shop-a")
                assert (await http.post("/fn/register", json=body)).status_code == 200
                event = engine.new_event(name="run/shop-a", data={})
                engine.ingest([event])
                while (run := engine.runs_of_event(event.internal_id)[0]).ended_ms is None:
                    await asyncio.sleep(0.001)
                assert run.output == "done"
                detail = (await http.get(f"/api/runs/{run.run_id}")).json()
                return [line["name"] for line in detail["timeline"]]

    return asyncio.run(go())


@pytest.mark.parametrize(
    "op",
    [
        *("StepError", "StepFailed", "Sleep", "WaitForEvent", "WaitForSignal", "InvokeFunction"),
        *("Gateway", "AIGateway", "RunComplete", "SyncRunComplete", "DiscoveryRequest", "None"),
        *("DeferAdd", "StepNotFound", ["StepRun"], 5),
    ],
)
def test_a_checkpoint_with_an_op_that_ends_a_call_is_refused_and_saves_nothing(op: Any) -> None:
    async def post(send: Callable[..., Awaitable[httpx.Response]], call: Call) -> None:
        error = {"name": "E", "message": "m"}
        answer = await send(STEP, {"op": op, "id": "b" * 40, "opts": {"url": "x"}, "error": error})
        assert answer.status_code == 400
        assert str(op) in answer.json()["error"]

    assert "Shown" not in checkpointing(post)


def test_a_checkpoint_takes_steps_that_ran_or_are_planned_and_keeps_their_display_name() -> None:
    async def post(send: Callable[..., Awaitable[httpx.Response]], call: Call) -> None:
        planned = {"op": "StepPlanned", "id": "b" * 40, "displayName": "Later"}
        legacy = {"op": "Step", "id": "c" * 40, "data": 1, "displayName": "Old", "timing": {}}
        assert (await send(STEP, planned, legacy)).status_code == 200
        assert (await send(STEP)).status_code == 200, "twice is fine"

    names = checkpointing(post)
    assert [name for name in names if name in ("Shown", "Later", "Old")] == ["Shown", "Old"]


def test_a_checkpoint_of_a_call_that_was_made_again_is_a_409() -> None:
    statuses: list[list[int]] = []

    async def post(send: Callable[..., Awaitable[httpx.Response]], call: Call) -> None:
        generations = (call.generation, 0, None, "1", True, 1, 2, 3)
        answers = [await send(generation_id=each) for each in generations]
        statuses.append([answer.status_code for answer in answers])

    checkpointing(post, retries=2)
    assert statuses == [
        [200, 200, 200, 200, 200, 200, 409, 409],
        [200, 200, 200, 200, 200, 409, 200, 409],
    ]
