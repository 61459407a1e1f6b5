"""The client: its settings, its functions, and events sent over a real socket."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest

from inngest_sdk.client import Inngest
from inngest_sdk.config import Secret
from inngest_sdk.errors import ConfigError, FunctionConfigInvalidError, SendEventsError
from inngest_sdk.events import Event
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
)
from inngest_sdk.function import Function, TriggerCron, TriggerEvent
from inngest_sdk.serializer import NoOutputType, PydanticSerializer

PLACED = TriggerEvent(event="shop/order.placed")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INNGEST_DEV", "INNGEST_EVENT_KEY", "INNGEST_SIGNING_KEY", "INNGEST_ENV"):
        monkeypatch.delenv(name, raising=False)


def app(**arguments: Any) -> Inngest:
    return Inngest(app_id="shop", is_production=False, **arguments)


def test_a_client_settles_its_settings_when_it_is_made() -> None:
    logger = logging.getLogger("mine")
    serializer = PydanticSerializer()

    client = Inngest(
        app_id="shop",
        api_base_url="http://api:1",
        app_version="v7",
        env="branch",
        event_api_base_url="http://events:2",
        event_key="key",
        is_production=True,
        logger=logger,
        request_timeout=timedelta(seconds=5),
        serializer=serializer,
        signing_key="signkey-prod-beef",
    )

    assert (client.app_id, client.app_version, client.env) == ("shop", "v7", "branch")
    assert (client.api_origin, client.event_api_origin) == ("http://api:1", "http://events:2")
    assert client.config.event_key == Secret("key")
    assert client.config.signing_key == Secret("signkey-prod-beef")
    assert client.config.request_timeout == 5
    assert client.logger is logger
    assert client.serializer is serializer


def test_the_logger_may_be_changed_later() -> None:
    client = app()
    assert client.logger is logging.getLogger("inngest")

    client.set_logger(logging.getLogger("mine"))

    assert client.logger is logging.getLogger("mine")


@pytest.mark.parametrize("app_id", ["", "my shop", "shop/eu", None])
def test_an_app_id_that_cannot_be_one_is_refused(app_id: Any) -> None:
    with pytest.raises(FunctionConfigInvalidError, match=r"app_id is .*; it takes letters"):
        Inngest(app_id=app_id)


def test_wrong_settings_are_refused_when_the_client_is_made() -> None:
    with pytest.raises(ConfigError, match="signing_key"):
        Inngest(app_id="shop", signing_key="zz")


def test_functions_belong_to_their_client_in_the_order_of_their_definition() -> None:
    client = app()

    @client.create_function(fn_id="b", trigger=PLACED)
    async def first(ctx: object) -> int:
        return 1

    @client.create_function(fn_id="a", trigger=[PLACED, TriggerCron(cron="* * * * *")])
    def second(ctx: object) -> str:
        return ""

    assert client.functions == {"shop-b": first, "shop-a": second}
    assert (first.name, first.triggers) == ("b", (PLACED,))
    assert len(second.triggers) == 2


def test_the_result_type_is_inferred_for_async_and_for_sync_functions() -> None:
    client = app()

    @client.create_function(fn_id="a", trigger=PLACED)
    async def a(ctx: object) -> int:
        return 1

    @client.create_function(fn_id="b", trigger=PLACED)
    def b(ctx: object) -> str:
        return ""

    of_int: Function[int] = a
    of_text: Function[str] = b
    assert (of_int.is_handler_async, of_text.is_handler_async) == (True, False)


def test_a_handler_is_found_by_the_full_id_of_either_function() -> None:
    client = app()

    async def mail(ctx: object) -> int:
        return 1

    def mail_failed(ctx: object) -> None: ...

    made = client.create_function(
        fn_id="mail", trigger=PLACED, on_failure=mail_failed, output_type=int
    )(mail)

    main = client.handler_for("shop-mail")
    failure = client.handler_for("shop-mail-failure")
    assert main is not None and failure is not None
    assert (main.callable, main.is_async, main.output_type) == (mail, True, int)
    assert (failure.callable, failure.is_async) == (mail_failed, False)
    assert failure.output_type is NoOutputType
    assert main.function is failure.function is made
    assert client.handler_for("mail") is None


def test_every_option_reaches_the_registration() -> None:
    client = app()

    @client.create_function(
        fn_id="f",
        name="F",
        trigger=PLACED,
        retries=2,
        cancel=[Cancel(event="c")],
        concurrency=[Concurrency(limit=1)],
        debounce=Debounce(period="1s"),
        idempotency="event.data.id",
        priority=Priority(run="1"),
        rate_limit=RateLimit(limit=1, period="1s"),
        singleton=Singleton(mode="skip"),
        throttle=Throttle(limit=1, period="1s"),
        timeouts=Timeouts(finish="1h"),
    )
    def f(ctx: object) -> None: ...

    @client.create_function(fn_id="g", trigger=PLACED, batch_events=Batch(max_size=2))
    def g(ctx: object) -> None: ...

    (entry,) = f.configs("http://h/")
    assert entry.keys() == {
        *("id", "name", "triggers", "steps", "cancel", "concurrency", "debounce", "idempotency"),
        *("priority", "rateLimit", "singleton", "throttle", "timeouts"),
    }
    assert entry["name"] == "F"
    assert entry["steps"]["step"]["retries"] == {"attempts": 2}
    assert g.configs("http://h/")[0]["batchEvents"] == {"maxSize": 2}


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [("mail", "mail", "shop-mail"), ("mail", "mail-failure", "shop-mail-failure")],
)
def test_an_id_can_be_taken_once(first: str, second: str, clash: str) -> None:
    client = app()
    failing = client.create_function(fn_id=first, trigger=PLACED, on_failure=lambda ctx: None)
    failing(lambda ctx: None)

    with pytest.raises(FunctionConfigInvalidError, match=f"already has a function '{clash}'"):
        client.create_function(fn_id=second, trigger=PLACED)(lambda ctx: None)

    assert list(client.functions) == [f"shop-{first}"]


def test_a_wrong_option_is_refused_before_there_is_a_function() -> None:
    with pytest.raises(FunctionConfigInvalidError, match="retries is 21"):
        app().create_function(fn_id="f", trigger=PLACED, retries=21)


@pytest.mark.parametrize("trigger", ["shop/order.placed", None, ["e"]])
def test_what_is_no_trigger_is_refused(trigger: Any) -> None:
    with pytest.raises(FunctionConfigInvalidError, match="it takes TriggerEvent or TriggerCron"):
        app().create_function(fn_id="f", trigger=trigger)(lambda ctx: None)


class EventApi(BaseHTTPRequestHandler):
    """Answers as an event API does, after as many failures as the server was told to make."""

    def do_POST(self) -> None:
        assert isinstance(self.server, EventServer)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.received.append((self.headers["x-inngest-event-id-seed"], body))
        failing = len(self.server.received) <= self.server.failures
        answer = json.dumps({"ids": [event["name"] for event in body]}).encode()
        self.send_response(500 if failing else 200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None: ...


class EventServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, failures: int) -> None:
        super().__init__(("127.0.0.1", 0), EventApi)
        self.failures = failures
        self.received: list[tuple[str, list[dict[str, Any]]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def event_server(failures: int = 0) -> Iterator[EventServer]:
    with EventServer(failures) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


Mode = Literal["sync", "async"]


def send(client: Inngest, events: Event | list[Event], mode: Mode) -> list[str]:
    if mode == "sync":
        return client.send_sync(events)
    return asyncio.run(client.send(events))


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_one_event_or_a_list_is_sent(mode: Mode) -> None:
    with event_server() as server:
        client = app(event_api_base_url=server.url)

        assert send(client, Event(name="a/b", data={"n": 1}), mode) == ["a/b"]
        assert send(client, [Event(name="a/c"), Event(name="a/d")], mode) == ["a/c", "a/d"]

    bodies = [body for _, body in server.received]
    assert [[event["name"] for event in body] for body in bodies] == [["a/b"], ["a/c", "a/d"]]
    assert bodies[0][0]["data"] == {"n": 1}
    assert len({seed for seed, _ in server.received}) == 2


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_try_that_fails_is_repeated_with_the_same_seed(mode: Mode) -> None:
    with event_server(failures=1) as server:
        assert send(app(event_api_base_url=server.url), Event(name="a/b"), mode) == ["a/b"]

    first, second = server.received
    assert first == second


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_event_that_cannot_be_sent_is_told(mode: Mode) -> None:
    with pytest.raises(SendEventsError, match="names that begin with 'inngest/'"):
        send(app(), Event(name="inngest/x"), mode)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_cloud_mode_without_an_event_key_is_told(mode: Mode) -> None:
    with pytest.raises(ConfigError, match="INNGEST_EVENT_KEY"):
        send(Inngest(app_id="shop"), Event(name="a/b"), mode)
