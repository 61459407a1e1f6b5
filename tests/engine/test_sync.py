"""Asking apps to register, and finding them (engine.md 1.4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from inngest_sdk import signing
from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.model import App, Call, Finished, Reply
from inngest_serverless.engine.register import app_id_of
from inngest_serverless.engine.sync import (
    Sync,
    SyncOptions,
    forget_failures,
    sync_error,
    sync_request,
)
from inngest_serverless.engine.transport import AppUnreachable, HttpAnswer, HttpRequest

from .captures import SIGNING_KEY, exchanges
from .serving import free_port, free_socket

URL = "http://localhost:9001/api/inngest"
SDK = {"x-inngest-sdk": "test:v1"}
Answers = Callable[[HttpRequest], HttpAnswer]


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {**SDK, **headers}, content)


class World:
    """An engine, and a network on which every request goes to one function of the test."""

    def __init__(self, engine: Engine, answers: Answers, options: SyncOptions) -> None:
        self.engine = engine
        self.answers = answers
        self.requests: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str | None]] = []
        self.sync = Sync(
            engine,
            self._send,
            options,
            clock=ManualClock(),
            on_change=lambda url, error: self.changes.append((url, error)),
        )

    async def _send(self, request: HttpRequest, *, seconds: float) -> HttpAnswer:
        self.requests.append((request.method, request.url))
        return self.answers(request)

    def register(self, url: str = URL, name: str = "shop") -> None:
        """What the API does when an app registers."""
        forget_failures(self.engine, url)
        self.engine.register(App(app_id_of(name), name, url, synced_ms=1), [])
        self.sync.registered(url)


async def _caller(call: Call) -> Reply:
    return Finished(None)


def in_world(
    act: Callable[[World], Awaitable[None]],
    answers: Answers,
    options: SyncOptions | None = None,
) -> World:
    async def go() -> World:
        async with Engine(_caller) as engine:
            world = World(engine, answers, options or SyncOptions())
            await act(world)
            return world

    return asyncio.run(go())


# ── the request ──────────────────────────────────────────────────────────────────────────────────


def test_the_request_names_the_url_and_the_kind_of_server() -> None:
    request = sync_request(URL, now_ms=0)
    assert (request.method, request.url) == ("PUT", URL)
    assert json.loads(request.body) == {"url": URL}
    assert request.headers["x-inngest-server-kind"] == "dev"
    assert "x-inngest-signature" not in request.headers
    assert "x-inngest-sync-kind" not in request.headers


def test_with_a_key_the_request_is_signed_and_comes_from_a_server_that_signs() -> None:
    request = sync_request(URL, now_ms=1_700_000_000_000, signing_key=SIGNING_KEY)
    signature = request.headers["x-inngest-signature"]
    assert signing.verify(request.body, signature, [SIGNING_KEY], now=1_700_000_000)
    assert request.headers["x-inngest-server-kind"] == "cloud"


# ── the answer ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["py-dev.jsonl", "py-signed.jsonl", "js-dev.jsonl"])
def test_a_recorded_good_answer_is_good(name: str) -> None:
    exchange = next(e for e in exchanges(name) if e["request"]["method"] == "PUT")
    response = exchange["response"]
    body = json.dumps(response["body"]).encode()
    assert sync_error(HttpAnswer(response["status"], response["headers"], body)) is None


@pytest.mark.parametrize(
    ("given_answer", "said"),
    [
        (answer(401, {"message": "Unauthorized"}), "unauthorized"),
        (answer(403), "forbidden"),
        (answer(404, b"<html>"), "URL not found"),
        (answer(405), "PUT"),
        (answer(500, {"message": "cannot register"}), "cannot register"),
        (answer(400, {"message": "no functions registered"}), "no functions registered"),
        (answer(400, b"\xff"), "HTTP 400"),
        (answer(302, [1]), "HTTP 302"),
        (HttpAnswer(200, {}, b"<html>"), "not an Inngest SDK"),
        (answer(200, {"error": "function 'f' has 11 triggers", "status": 400}), "11 triggers"),
    ],
)
def test_every_bad_answer_says_what_is_wrong(given_answer: HttpAnswer, said: str) -> None:
    assert said in (sync_error(given_answer) or "")


# ── one app ──────────────────────────────────────────────────────────────────────────────────────


def test_an_app_that_registers_is_synced() -> None:
    worlds: list[World] = []

    def answers(request: HttpRequest) -> HttpAnswer:
        worlds[0].register()
        return answer(200, {"ok": True})

    async def act(world: World) -> None:
        worlds.append(world)
        assert await world.sync.sync(URL.replace("localhost", "127.0.0.1")) is None

    world = in_world(act, answers)
    assert world.requests == [("PUT", URL)]
    assert world.changes == [(URL, None)]


def test_an_app_that_answers_but_registers_elsewhere_is_told_where_we_are() -> None:
    async def act(world: World) -> None:
        error = await world.sync.sync(URL)
        assert "INNGEST_DEV=http://localhost:8288" in (error or "")
        assert world.engine.apps()[0].error == error

    in_world(act, lambda request: answer(200, {"message": "Successfully registered"}))


def test_an_app_that_is_down_is_kept_with_its_error_until_it_registers() -> None:
    down = True

    def answers(request: HttpRequest) -> HttpAnswer:
        if down:
            raise AppUnreachable("connection refused")
        worlds[0].register()
        return answer(200, {"ok": True})

    worlds: list[World] = []

    async def act(world: World) -> None:
        nonlocal down
        worlds.append(world)
        await world.sync.sync(URL)
        assert [app.error for app in world.engine.apps()] == ["unreachable: connection refused"]
        await world.sync.sync(URL)
        down = False
        await world.sync.sync(URL)
        assert [(app.name, app.error) for app in world.engine.apps()] == [("shop", None)]

    world = in_world(act, answers)
    # Said once, though it was tried twice: polling is quiet.
    assert world.changes == [(URL, "unreachable: connection refused"), (URL, None)]


def test_a_known_app_keeps_its_name_when_it_goes_down() -> None:
    def answers(request: HttpRequest) -> HttpAnswer:
        raise AppUnreachable("connection refused")

    async def act(world: World) -> None:
        world.register()
        await world.sync.sync(URL)
        assert [(app.name, app.error) for app in world.engine.apps()] == [
            ("shop", "unreachable: connection refused")
        ]

    in_world(act, answers)


# ── rounds ───────────────────────────────────────────────────────────────────────────────────────


def test_apps_that_were_named_are_asked_until_they_come_up() -> None:
    async def act(world: World) -> None:
        running = asyncio.create_task(world.sync.run())
        await asyncio.wait_for(running, 10)
        assert world.engine.apps()[0].name == "shop"

    tries = 0
    worlds: list[World] = []

    def answers(request: HttpRequest) -> HttpAnswer:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise AppUnreachable("connection refused")
        worlds[0].register()
        return answer(200, {"ok": True})

    async def noted(world: World) -> None:
        worlds.append(world)
        await act(world)

    # Without polls and discovery, `run` ends when the app is up.
    in_world(noted, answers, SyncOptions(urls=(URL,), poll_seconds=0, discovery=False))
    assert tries == 3


def test_known_apps_are_asked_again_but_not_before_it_is_time() -> None:
    async def act(world: World) -> None:
        world.register()
        await world.sync.round()
        await world.sync.round()

    world = in_world(act, lambda request: answer(200, {"ok": True}))
    assert world.requests == [("PUT", URL)]


def test_an_app_that_answers_wrongly_is_not_asked_in_haste() -> None:
    async def act(world: World) -> None:
        for _ in range(3):
            await world.sync.round()

    options = SyncOptions(urls=(URL,), poll_seconds=0)
    assert in_world(act, lambda request: answer(404), options).requests == [("PUT", URL)]


def test_without_polls_known_apps_are_left_alone() -> None:
    async def act(world: World) -> None:
        world.register()
        await world.sync.round()

    options = SyncOptions(poll_seconds=0, discovery=False)
    assert in_world(act, lambda request: answer(200, {}), options).requests == []


# ── discovery ────────────────────────────────────────────────────────────────────────────────────


def test_an_app_on_a_usual_port_is_found_and_asked_to_register() -> None:
    worlds: list[World] = []

    def answers(request: HttpRequest) -> HttpAnswer:
        if not request.url.endswith("/x/inngest"):
            return HttpAnswer(200, {}, b"<html>")
        if request.method == "PUT":
            worlds[0].register(request.url)
        return answer(200, {"ok": True})

    with free_socket() as listening:
        port = listening.getsockname()[1]

        async def act(world: World) -> None:
            worlds.append(world)
            await world.sync.round()
            await world.sync.round()
            await world.sync.discover()

        options = SyncOptions(ports=(free_port(), port), poll_seconds=0)
        world = in_world(act, answers, options)
    app = f"http://localhost:{port}"
    once = [
        ("GET", f"{app}/api/inngest"),
        ("GET", f"{app}/x/inngest"),
        ("PUT", f"{app}/x/inngest"),
    ]
    # The second round found an app at work and looked no further; the closed port got no request.
    assert world.requests == once * 2


def test_our_own_port_is_never_probed() -> None:
    with free_socket() as listening:
        port = listening.getsockname()[1]

        async def act(world: World) -> None:
            await world.sync.discover()

        options = SyncOptions(ports=(port,), own_url=f"http://127.0.0.1:{port}")
        assert in_world(act, lambda request: answer(200), options).requests == []


def test_nothing_is_looked_for_when_apps_were_named_or_discovery_is_off() -> None:
    def answers(request: HttpRequest) -> HttpAnswer:
        raise AppUnreachable("connection refused")

    with free_socket() as listening:
        port = listening.getsockname()[1]

        async def act(world: World) -> None:
            await world.sync.round()

        named = in_world(act, answers, SyncOptions(urls=(URL,), ports=(port,)))
        assert named.requests == [("PUT", URL)]
        off = in_world(act, answers, SyncOptions(discovery=False, ports=(port,)))
        assert off.requests == []
