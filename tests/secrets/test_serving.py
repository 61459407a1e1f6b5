"""Apps whose keys lie elsewhere: who is let in, what it costs, and what is said when it fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import pytest

from inngest_sdk import keys, signing, streaming
from inngest_sdk.config import Config, Streaming
from inngest_sdk.drive import drive, drive_async
from inngest_sdk.effects import Fetch, Flow, Invoke, Now, Pause, Reveal
from inngest_sdk.endpoint import Entrypoint, serve
from inngest_sdk.errors import SecretUnavailableError
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.keys import AGAIN_SECONDS, Keyring
from inngest_sdk.sending import send_flow
from inngest_serverless import Event, Inngest, SendEventsError, TriggerEvent
from tests.sdk.play import FRONT, NOW, both, define
from tests.secrets.store import SCHEME, Store

KEY, OTHER = "signkey-test-" + "ab" * 32, "signkey-test-" + "cd" * 32
URL = "https://app.example/api/inngest"
CALL = {"event": {"name": "a/b", "data": {}}, "ctx": {"run_id": "01RUN", "attempt": 0}}


def shop(**settings: Any) -> Inngest:
    client = Inngest(app_id="shop", **{"signing_key": "shelf:signing", **settings})

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: Any) -> int:
        return 7

    return client


def call(key: str | None = KEY, method: str = "POST", query: str = "fnId=shop-f") -> Request:
    body = dumps(CALL) if method == "POST" else b""
    headers = {} if key is None else {signing.HEADER: signing.sign(key, body, int(NOW))}
    return Request(method, f"{URL}?{query}", headers, body)


def answered(flow: Flow[Any], ring: Keyring, now: float, fetched: Sequence[Response] = ()) -> Any:
    """What a flow comes to, at a time, with a keyring, and with these answers of the server."""
    waiting = list(fetched)
    try:
        effect = next(flow)
        while True:
            match effect:
                case Reveal(reference, again):
                    try:
                        text = ring.reveal(reference, now, again)
                    except SecretUnavailableError as error:
                        effect = flow.throw(error)
                    else:
                        effect = flow.send(text)
                case Invoke(invocation):
                    effect = flow.send(invocation.run(drive))
                case Now():
                    effect = flow.send(NOW)
                case Fetch():
                    effect = flow.send(waiting.pop(0))
                case Pause():
                    effect = flow.send(None)
    except StopIteration as stop:
        return stop.value


class Served:
    """An app and its store; `later` is how many seconds have passed."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store, self.later = store, 0.0
        self.ring = Keyring({SCHEME: store.fetch})
        self.client = shop(**settings)

    def ask(self, request: Request) -> Response:
        flow = serve(self.client, request, FRONT, now=NOW)
        response: Response = answered(flow, self.ring, NOW + self.later)
        return response


def test_nothing_is_fetched_until_a_key_is_needed(store: Store) -> None:
    store.secrets["signing"] = KEY
    served = Served(store, event_key="shelf:event")
    assert store.asked == []
    assert served.ask(call(None)).status == 401
    assert served.ask(call(None, "GET")).status == 401
    old = signing.sign(KEY, b"", int(NOW) - 301)
    assert served.ask(Request("POST", URL, {signing.HEADER: old}, b"")).status == 401
    assert served.ask(Request("POST", URL, {signing.HEADER: "nonsense"}, b"")).status == 401
    assert store.asked == []
    assert served.ask(call()).status == 200
    assert store.asked == [("signing", False)]


def test_the_fetched_key_lets_in_and_signs_the_answer(store: Store) -> None:
    store.secrets["signing"] = f"{KEY}\n"
    served = Served(store)
    for _ in range(3):
        answer = served.ask(call())
        assert (answer.status, answer.body) == (200, b"7")
        assert signing.verify(answer.body, answer.headers[signing.HEADER], [KEY], NOW)
    assert served.ask(call(OTHER)).status == 401
    assert len(store.asked) == 1


def test_a_key_that_was_replaced_is_found_by_the_first_call_that_it_signs(store: Store) -> None:
    store.secrets["signing"] = KEY
    served = Served(store)
    served.ask(call())
    store.secrets["signing"] = OTHER
    served.later = AGAIN_SECONDS
    answer = served.ask(call(OTHER))
    assert answer.status == 200
    assert signing.verify(answer.body, answer.headers[signing.HEADER], [OTHER], NOW)
    assert served.ask(call(KEY)).status == 401
    assert store.asked == [("signing", False), ("signing", True)]


def test_strangers_cannot_have_the_store_asked_at_will(store: Store) -> None:
    store.secrets["signing"] = KEY
    served = Served(store)
    for second in range(100):
        served.later = float(second)
        assert served.ask(call(OTHER)).status == 401
    assert len(store.asked) == 4  # at 0, 30, 60 and 90 seconds


def test_the_fallback_may_lie_elsewhere_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", "shelf:old")
    store.secrets.update(signing=KEY, old=OTHER)
    served = Served(store)
    assert served.ask(call(OTHER)).status == 200
    assert store.asked == [("signing", False), ("old", False)]


def test_a_store_that_fails_is_an_error_that_is_tried_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "inngest"):
        answer = Served(store).ask(call())
    assert answer.status == 500
    assert answer.headers["x-inngest-no-retry"] == "false"
    said = answer.json()
    assert said["code"] == "secret_unavailable"
    assert "signing_key refers to 'shelf:signing'" in said["message"]
    assert "put it there" in said["message"]
    assert said["message"] in caplog.text


def test_a_get_tells_of_a_reference_without_following_it(store: Store) -> None:
    store.secrets.update(signing=KEY, event="s3cret")
    served = Served(store, is_production=False, event_key="shelf:event")
    told = served.ask(call(None, "GET")).json()
    assert (told["has_signing_key"], told["has_event_key"]) == (True, True)
    assert store.asked == []
    assert "shelf" not in str(told)


def test_a_signed_get_has_the_hashes_of_what_is_known(store: Store) -> None:
    store.secrets.update(signing=KEY, event="s3cret")
    client = shop(event_key="shelf:event")
    now = time.time()
    headers = {signing.HEADER: signing.sign(KEY, b"", int(now))}
    told = drive(serve(client, Request("GET", URL, headers, b""), FRONT, now=now)).json()
    assert told["signing_key_hash"] == signing.hashed(KEY).rpartition("-")[2][:12]
    assert told["event_key_hash"] is None
    assert store.asked == [("signing", False)]


@pytest.mark.parametrize("mode", [Streaming.DISABLE, Streaming.ALLOW, Streaming.FORCE])
@pytest.mark.parametrize("form", ["pulled", "on a loop"])
def test_who_is_refused_is_refused_at_the_door_also_where_answers_stream(
    store: Store, form: str, mode: Streaming
) -> None:
    store.secrets["signing"] = KEY
    front = Entrypoint("test", "test", can_stream=True, streaming=mode)
    client = shop()

    def ask(key: str) -> Any:
        if form == "pulled":
            return streaming.serve(client, call(key), front, now=NOW)
        return asyncio.run(streaming.serve_async(client, call(key), front, now=NOW))

    refused = ask(OTHER)
    assert isinstance(refused, Response) and refused.status == 401
    store.secrets.clear()
    keys.forget()
    broken = ask(KEY)
    assert isinstance(broken, Response) and broken.status == 500


def test_a_fetch_does_not_hold_up_the_loop(store: Store) -> None:
    async def meanwhile() -> Response:
        turned = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(reference: Any, again: bool) -> str:
            # Not told before the loop has turned: blocking it would never end.
            asyncio.run_coroutine_threadsafe(turned.wait(), loop).result(30)
            return KEY

        keys.register(SCHEME, slow)
        flow = drive_async(serve(shop(), call(), FRONT, now=NOW))
        answer, _ = await asyncio.gather(
            flow, asyncio.to_thread(loop.call_soon_threadsafe, turned.set)
        )
        return answer

    assert asyncio.run(meanwhile()).status == 200


# --- what the app sends -------------------------------------------------------------------------

SENT = Response(200, {}, dumps({"ids": ["01"], "status": 200}))
REFUSED = Response(401, {}, dumps({"error": "unauthorized"}))
SEED = "1795347346000,AAAAAAAAAAAAAA=="


def sent(store: Store, ring: Keyring, later: float, *answers: Response) -> Any:
    config = Config.from_env({"INNGEST_EVENT_KEY": "shelf:event"})
    flow = send_flow(config, [Event(name="a/b")], SEED)
    return answered(flow, ring, NOW + later, answers)


def test_the_event_key_is_fetched_and_once_more_where_it_is_refused(store: Store) -> None:
    store.secrets["event"] = "one"
    ring = Keyring({SCHEME: store.fetch})
    assert sent(store, ring, 0, SENT) == ["01"]
    store.secrets["event"] = "two"
    assert sent(store, ring, AGAIN_SECONDS, REFUSED, SENT) == ["01"]
    assert store.asked == [("event", False), ("event", True)]
    with pytest.raises(SendEventsError, match="check INNGEST_EVENT_KEY"):
        sent(store, ring, AGAIN_SECONDS + 1, REFUSED)


def test_events_are_not_sent_without_their_key(store: Store) -> None:
    client = Inngest(app_id="shop", event_key="shelf:event")
    for send in (client.send_sync, lambda event: asyncio.run(client.send(event))):
        with pytest.raises(SecretUnavailableError, match="event_key refers to 'shelf:event'"):
            send(Event(name="a/b"))


def test_registering_uses_the_key_that_the_server_knows_by_now(store: Store) -> None:
    store.secrets["signing"] = KEY
    served = Served(store)
    served.ask(call())
    store.secrets["signing"] = OTHER
    flow = serve(served.client, Request("PUT", URL, {}, b""), FRONT, now=NOW)
    answers = [REFUSED, Response(200, {}, dumps({"ok": True}))]
    answer: Response = answered(flow, served.ring, NOW + AGAIN_SECONDS, answers)
    assert answer.status == 200
    assert store.asked == [("signing", False), ("signing", True)]


# --- approvals ----------------------------------------------------------------------------------


def asking(ctx: Any) -> Any:
    approval = yield ctx.step.approval("ask", title="Sure?", expires=60_000)
    yield approval.decision()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_links_of_approvals_are_made_and_checked_with_a_fetched_key(
    store: Store, mode: Any
) -> None:
    store.secrets["signing"] = KEY
    client = Inngest(app_id="shop", is_production=False, signing_key="shelf:signing")
    [made] = define(both(mode, asking), client).ops()
    url = made["data"]["url"]
    follow = Request("GET", url, {}, b"")
    assert drive(serve(client, follow, FRONT, now=NOW)).status == 200
    forged = Request("GET", f"{url[:-3]}AAA", {}, b"")
    assert drive(serve(client, forged, FRONT, now=NOW)).status == 403
    store.secrets.clear()
    keys.forget()
    assert drive(serve(client, follow, FRONT, now=NOW)).status == 503
    assert drive(serve(client, Request("GET", f"{URL}?approval=x.y"), FRONT, now=NOW)).status == 403
