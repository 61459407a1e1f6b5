"""The engine as a server, with a real app over real connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inngest_serverless.engine.model import RunRow
from inngest_serverless.engine.server import DevOptions, DevServer, PortInUse

from .captures import SIGNING_KEY
from .serving import (
    PATH,
    Function,
    free_port,
    free_socket,
    registration,
    sdk_app,
    serving,
    step_run,
)


def alone(**options: Any) -> DevOptions:
    return DevOptions(**{"port": 0, "discovery": False, "poll_seconds": 0, **options})


def two_steps(call: dict[str, Any]) -> tuple[int, Any]:
    """A function of two steps that returns their values."""
    steps = call["steps"]
    if len(steps) < 2:
        return step_run(f"s{len(steps)}", len(steps))
    return 200, [steps[key]["data"] for key in call["ctx"]["stack"]["stack"]]


async def synced(server: DevServer, origin: str) -> None:
    assert await server.sync.sync(origin + PATH) is None


async def sent(server: DevServer, *events: Any) -> list[str]:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/e/key", json=list(events))
    ids: list[str] = answer.json()["ids"]
    return ids


async def ended(server: DevServer, event_id: str) -> RunRow:
    await server.engine.idle()
    [run] = server.engine.runs_of_event(event_id)
    return run


def with_app(
    functions: dict[str, Function], act: Callable[[DevServer, str], Awaitable[None]], **options: Any
) -> None:
    async def go() -> None:
        async with (
            DevServer(alone(**options)) as server,
            serving(sdk_app(lambda: server.url, functions)) as origin,
        ):
            await synced(server, origin)
            await act(server, origin)

    asyncio.run(go())


def test_an_event_over_http_runs_a_function_over_http() -> None:
    async def act(server: DevServer, origin: str) -> None:
        [event_id] = await sent(server, {"name": "run/shop-a"})
        run = await ended(server, event_id)
        assert (run.status, run.output) == ("Completed", [0, 1])

    with_app({"shop-a": two_steps}, act)


def test_a_function_that_fails_is_tried_again_at_the_fixed_interval() -> None:
    calls: list[int] = []

    def flaky(call: dict[str, Any]) -> tuple[int, Any]:
        calls.append(call["ctx"]["attempt"])
        return (500, {"name": "E", "message": "not yet"}) if len(calls) < 3 else (200, "done")

    async def act(server: DevServer, origin: str) -> None:
        [event_id] = await sent(server, {"name": "run/shop-a"})
        run = await ended(server, event_id)
        while run.status == "Running":
            run = await ended(server, event_id)
        assert run.output == "done"
        assert calls == [0, 1, 2]

    with_app({"shop-a": flaky}, act, retry_interval_ms=1)


def test_many_runs_at_once_all_end() -> None:
    async def act(server: DevServer, origin: str) -> None:
        ids = await sent(server, *({"name": "run/shop-a"} for _ in range(50)))
        runs = [await ended(server, event_id) for event_id in ids]
        assert {run.status for run in runs} == {"Completed"}

    with_app({"shop-a": two_steps}, act)


def test_urls_are_asked_until_the_app_is_up() -> None:
    async def go() -> None:
        port = free_port()
        url = f"http://localhost:{port}{PATH}"
        changes: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()
        options = alone(urls=(url,))
        async with DevServer(options, on_sync=lambda *each: changes.put_nowait(each)) as server:
            said_url, error = await changes.get()
            assert said_url == url
            assert "connection refused" in (error or "")
            async with serving(sdk_app(lambda: server.url, {"shop-a": two_steps}), port):
                assert (await asyncio.wait_for(changes.get(), 10))[1] is None
                assert [each.slug for each in server.engine.functions()] == ["shop-a"]

    asyncio.run(go())


def test_an_app_on_a_usual_port_is_discovered() -> None:
    async def go() -> None:
        port = free_port()
        changes: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()
        options = alone(discovery=True, discovery_ports=(port,))
        server = DevServer(options, on_sync=lambda *each: changes.put_nowait(each))
        app = sdk_app(lambda: server.url, {"shop-a": two_steps})
        async with serving(app, port), server:
            url, error = await asyncio.wait_for(changes.get(), 10)
            assert (url, error) == (f"http://localhost:{port}{PATH}", None)
            assert [each.slug for each in server.engine.functions()] == ["shop-a"]

    asyncio.run(go())


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    async def go(port: int) -> None:
        with pytest.raises(PortInUse) as caught:
            async with DevServer(alone(port=port)):
                pass
        assert f"port {port} on 127.0.0.1 is already in use" in str(caught.value)
        assert "another port" in str(caught.value)

    with free_socket() as listening:
        asyncio.run(go(listening.getsockname()[1]))


def test_a_stopped_server_leaves_its_port_free() -> None:
    async def go() -> None:
        async with DevServer(alone()) as server:
            port = int(server.url.rpartition(":")[2])
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{server.url}/health")).status_code == 200
        async with DevServer(alone(port=port)) as again:
            assert again.url == f"http://127.0.0.1:{port}"
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0

    asyncio.run(go())


def test_a_server_can_be_stopped_in_the_middle_of_a_call_and_goes_on_later(tmp_path: Path) -> None:
    async def go() -> None:
        entered, released = asyncio.Event(), asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            entered.set()
            await released.wait()
            headers = [(b"x-inngest-sdk", b"test:v1"), (b"x-inngest-req-version", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'"late"'})

        async with serving(slow) as origin:
            options = alone(db=tmp_path / "engine.db")
            async with DevServer(options) as server:
                body = registration(origin + PATH, "shop-a")
                async with httpx.AsyncClient() as client:
                    await client.post(f"{server.url}/fn/register", json=body)
                [event_id] = await sent(server, {"name": "run/shop-a"})
                await entered.wait()
            released.set()
            async with DevServer(options) as server:
                run = await ended(server, event_id)
                assert (run.status, run.output) == ("Completed", "late")

    asyncio.run(go())


def test_with_a_signing_key_calls_are_signed_and_production_apps_may_register() -> None:
    seen: list[str] = []

    async def go() -> None:
        async with DevServer(alone(signing_key=SIGNING_KEY)) as server:
            app = sdk_app(lambda: server.url, {"shop-a": two_steps})

            async def noting(scope: Any, receive: Any, send: Any) -> None:
                headers = dict(scope["headers"])
                seen.append(headers.get(b"x-inngest-signature", b"").decode()[:2])
                await app(scope, receive, send)

            async with serving(noting) as origin:
                await synced(server, origin)
                [event_id] = await sent(server, {"name": "run/shop-a"})
                assert (await ended(server, event_id)).status == "Completed"
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"{server.url}/health")
                assert answer.headers["x-inngest-server-kind"] == "cloud"

    asyncio.run(go())
    assert seen == ["t="] * 4  # the PUT and three calls


def test_the_key_does_not_show_in_the_options_repr() -> None:
    assert SIGNING_KEY not in repr(DevOptions(signing_key=SIGNING_KEY))


def test_a_server_that_does_not_run_has_no_engine() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = DevServer().engine
