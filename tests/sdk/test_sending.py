"""Sending events. The world is played by hand: `play` answers what the flow asks for."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from inngest_sdk.config import Config, Secret
from inngest_sdk.effects import Fetch, Flow, Pause
from inngest_sdk.errors import ConfigError, SendEventsError, UnreachableError
from inngest_sdk.events import Event
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.sending import send_flow

# A measured seed: a real server gave two events the ids 01HF7YAT00000G40R40M30E20A and …20B.
SEED = "1700000000000,AAECAwQFBgcICQ=="
DEV = Config(is_production=False, event_api_origin="http://dev:8288")
CLOUD = Config(event_key=Secret("k/1"))
PING = Event(name="shop/ping")


def ok(*ids: str) -> Response:
    return Response(200, {}, dumps({"ids": ids, "status": 200}))


class Played:
    """What a flow asked for, in order, and what it came to."""

    def __init__(
        self, flow: Flow[list[str]], answer: Callable[[Request], Response | Exception]
    ) -> None:
        self.requests: list[Request] = []
        self.timeouts: list[float] = []
        self.pauses: list[float] = []
        self.ids: list[str] = []
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Pause):
                    self.pauses.append(effect.seconds)
                    effect = flow.send(None)
                    continue
                assert isinstance(effect, Fetch)
                self.requests.append(effect.request)
                self.timeouts.append(effect.timeout)
                answered = answer(effect.request)
                if isinstance(answered, Exception):
                    effect = flow.throw(answered)
                else:
                    effect = flow.send(answered)
        except StopIteration as stop:
            self.ids = stop.value


def play(flow: Flow[list[str]], *answers: Response | Exception) -> Played:
    waiting = list(answers)
    played = Played(flow, lambda request: waiting.pop(0))
    assert not waiting
    return played


def name_each(request: Request) -> Response:
    return ok(*(event["name"] for event in json.loads(request.body)))


def test_events_go_to_the_keys_address_with_a_seed_and_come_back_as_ids() -> None:
    events = [Event(name="cap/x", data={"i": 1}), Event(name="cap/y", ts=5, id="once", v="2")]

    played = play(send_flow(CLOUD, events, SEED), ok("01A", "01B"))

    (request,) = played.requests
    assert played.ids == ["01A", "01B"]
    assert (request.method, request.url) == ("POST", "https://inn.gs/e/k%2F1")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-inngest-sdk"].startswith("inngest-serverless:v")
    assert request.headers["x-inngest-event-id-seed"] == SEED
    assert "x-inngest-env" not in request.headers
    assert json.loads(request.body) == [
        {"name": "cap/x", "data": {"i": 1}, "ts": 1_700_000_000_000},
        {"name": "cap/y", "data": {}, "id": "once", "ts": 5, "v": "2"},
    ]


def test_a_branch_environment_is_named() -> None:
    config = Config(event_key=Secret("k"), env="branch")

    played = play(send_flow(config, [PING], SEED), ok("01A"))

    assert played.requests[0].headers["x-inngest-env"] == "branch"


def test_a_dev_server_needs_no_key() -> None:
    played = play(send_flow(DEV, [PING], SEED), ok("01A"))

    assert played.requests[0].url == "http://dev:8288/e/NO_EVENT_KEY_SET"


def test_cloud_mode_without_a_key_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="INNGEST_EVENT_KEY"):
        next(send_flow(Config(), [PING], SEED))


def test_no_events_are_no_request() -> None:
    assert play(send_flow(DEV, [], SEED)).ids == []


def test_the_clients_timeout_is_used() -> None:
    config = Config(is_production=False, request_timeout=1.5)

    assert play(send_flow(config, [PING], SEED), ok("01A")).timeouts == [1.5]


@pytest.mark.parametrize(
    "failure", [UnreachableError("no route"), Response(500), Response(503), Response(429)]
)
def test_a_failure_that_may_pass_is_tried_again_with_the_same_bytes_and_seed(
    failure: Response | Exception,
) -> None:
    played = play(send_flow(DEV, [PING], SEED), failure, failure, failure, failure, ok("01A"))

    assert played.ids == ["01A"]
    assert played.pauses == [0.1, 0.2, 0.4, 0.8]
    assert all(request == played.requests[0] for request in played.requests)


def test_after_five_tries_in_vain_the_servers_last_answer_is_told() -> None:
    busy = Response(503, {}, b'{"ids":[],"status":503,"error":"no keys configured"}')

    with pytest.raises(SendEventsError) as caught:
        play(send_flow(DEV, [PING], SEED), *[busy] * 5)

    assert caught.value.message == (
        "0 of 1 events were accepted: the server answered 503: no keys configured"
    )
    assert caught.value.ids == []


def test_after_five_tries_in_vain_an_unreachable_server_is_told() -> None:
    with pytest.raises(SendEventsError, match=r"0 of 1 .*: no route, in 5 tries"):
        play(send_flow(DEV, [PING], SEED), *[UnreachableError("no route")] * 5)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(400, ""), (401, "; check INNGEST_EVENT_KEY"), (403, "; check INNGEST_EVENT_KEY")],
)
def test_a_refusal_is_final(status: int, hint: str) -> None:
    refusal = Response(status, {}, b'{"ids":[""],"error":"it may not be"}')

    with pytest.raises(SendEventsError) as caught:
        play(send_flow(CLOUD, [PING], SEED), refusal)

    assert caught.value.message == (
        f"0 of 1 events were accepted: the server answered {status}: it may not be{hint}"
    )


def test_a_partial_failure_carries_the_ids_that_went_through() -> None:
    partly = Response(400, {}, b'{"ids":["01A",""],"status":400,"error":"bad event"}')

    with pytest.raises(SendEventsError, match="1 of 3 events were accepted") as caught:
        play(send_flow(DEV, [PING] * 3, SEED), partly)

    assert caught.value.ids == ["01A"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Response(200, {}, b"<html>"), 'not what an Inngest server answers: "<html>"'),
        (Response(200, {}, b"[1]"), "not what an Inngest server answers"),
        (Response(200, {}, b"{}"), "the answer lists 0 ids for 1 events"),
        (Response(200, {}, b'{"ids":["1","2"]}'), "the answer lists 2 ids for 1 events"),
        (Response(404, {}, b"nope"), "check INNGEST_EVENT_KEY and INNGEST_EVENT_API_BASE_URL"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_success(answer: Response, message: str) -> None:
    with pytest.raises(SendEventsError) as caught:
        play(send_flow(DEV, [PING], SEED), answer)

    assert message in caught.value.message


def test_a_long_list_is_cut_and_its_ids_stay_in_order() -> None:
    events = [Event(name=f"n/{number}") for number in range(5_001)]

    played = Played(send_flow(DEV, events, SEED), name_each)

    assert [len(json.loads(request.body)) for request in played.requests] == [5_000, 1]
    assert played.ids == [event.name for event in events]


def test_each_part_of_a_list_goes_on_counting_where_the_last_one_stopped() -> None:
    # The server adds the event's place to the last four bytes: 06070809 + 5000 = 06071b91.
    played = Played(send_flow(DEV, [PING] * 5_001, SEED), name_each)

    assert [request.headers["x-inngest-event-id-seed"] for request in played.requests] == [
        SEED,
        "1700000000000,AAECAwQFBgcbkQ==",
    ]


def test_a_heavy_list_is_cut_by_bytes() -> None:
    events = [Event(name="n/heavy", data={"x": "y" * 500_000}) for _ in range(7)]

    played = Played(send_flow(DEV, events, SEED), name_each)

    assert [len(json.loads(request.body)) for request in played.requests] == [6, 1]
    assert len(played.ids) == 7


def test_when_a_later_part_fails_the_ids_of_the_earlier_ones_are_told() -> None:
    flow = send_flow(DEV, [PING] * 5_001, SEED)

    with pytest.raises(SendEventsError, match="5000 of 5001 events were accepted") as caught:
        play(flow, ok(*["01A"] * 5_000), Response(400, {}, b'{"ids":[""],"error":"no"}'))

    assert len(caught.value.ids) == 5_000


def loop() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["itself"] = data
    return data


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event(name=""), "event 1 has no name"),
        (Event(name=" "), "event 1 has no name"),
        (Event(name="n" * 513), "has a name of 513 characters; the most allowed is 512"),
        (Event(name="inngest/x"), "event 1 ('inngest/x'): names that begin with 'inngest/'"),
        (Event(name="Inngest/x"), "names that begin with 'inngest/'"),
        (Event(name="a", data={"t": datetime.date.min}), "event 1 ('a') is not JSON: Object of"),
        (Event(name="a", data={"t": float("nan")}), "event 1 ('a') is not JSON: Out of range"),
        (Event(name="a", data=loop()), "event 1 ('a') is not JSON: Circular"),
        (
            Event(name="a/big", data={"x": "y" * 524_288}),
            "event 1 ('a/big') has 524,339 bytes; the server takes 524,288 at most: put",
        ),
    ],
)
def test_an_event_that_cannot_be_sent_stops_the_whole_list_before_anything_is_sent(
    event: Event, message: str
) -> None:
    with pytest.raises(SendEventsError) as caught:
        next(send_flow(DEV, [PING, event], SEED))

    assert message in caught.value.message
    assert caught.value.message.endswith("none was sent")


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(SendEventsError, match=r"event 0 is a dict, not an Event, .*none was sent"):
        next(send_flow(DEV, [{"name": "a/b"}], SEED))  # type: ignore[list-item] # the mistake under test


def test_the_largest_event_is_sent() -> None:
    event = Event(name="a/big", ts=5, data={"x": "y" * (524_288 - 39)})

    played = play(send_flow(DEV, [event], SEED), ok("01A"))

    assert len(played.requests[0].body) == 524_288 + len("[]")


@pytest.mark.parametrize("seed", ["", "5", "now,AAECAwQFBgcICQ==", "5,AAEC", "5,????", "5,é"])
def test_a_seed_that_is_none_is_refused(seed: str) -> None:
    with pytest.raises(ValueError, match="is no seed"):
        next(send_flow(DEV, [PING], seed))
