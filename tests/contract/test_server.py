"""What a call asks of the Inngest server (wire.md A6, A12, A14), and what people get to see."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlsplit

from inngest_sdk import signing
from tests.contract.doors import BRANCH, EVENT_KEY, KEY, RUN_ID, Door, call_body, hashed, target

RUN = {"fn_id": "7d1c9a52-0000-4000-8000-000000000000", "qi_id": "qi-1", "request_id": "req-1"}


def event(value: object) -> dict[str, object]:
    return {"id": "01J", "name": "contract/any", "data": {"value": value}, "ts": 1}


def test_steps_that_were_too_large_to_send_are_fetched(door: Door) -> None:
    door.server.steps = {hashed("first"): {"data": "größer"}}
    reply = door.call("batch", "sent", use_api=True)
    assert (reply.status, reply.json()) == (200, [["sent"], "größer"])
    assert [each.target for each in door.server.asked] == [f"/v0/runs/{RUN_ID}/actions"]


def test_events_that_were_too_large_to_send_are_fetched(door: Door) -> None:
    door.server.steps = {hashed("first"): {"data": "größer"}}
    door.server.events = [event("ä"), event("ö")]
    call = {**json.loads(call_body(use_api=True)), "events": []}
    reply = door.ask("POST", target("batch"), json.dumps(call).encode())
    assert (reply.status, reply.json()) == (200, [["ä", "ö"], "größer"])
    asked = [each.target for each in door.server.asked]
    assert asked == [f"/v0/runs/{RUN_ID}/actions", f"/v0/runs/{RUN_ID}/batch"]


def test_state_is_fetched_with_the_key(door: Door) -> None:
    door.server.steps = {hashed("first"): {"data": "größer"}}
    assert door.cloud.call("batch", "sent", use_api=True).status == 200
    (asked,) = door.server.asked
    assert asked.headers["authorization"] == f"Bearer {signing.hashed(KEY)}"


def test_steps_are_posted_while_the_function_goes_on(door: Door) -> None:
    reply = door.call("steps", "größer", generation_id=7, **RUN)
    posted = door.server.asked_at(f"/v1/checkpoint/{RUN_ID}/async")
    ids = [op["id"] for each in posted for op in each.json()["steps"]]
    assert ids == [hashed("first"), hashed("second")]
    assert {name: posted[0].json()[name] for name in RUN} == RUN
    assert posted[0].json()["generation_id"] == 7
    assert (reply.status, reply.json()["second"]) == (200, ["größer", "second"])


def test_an_event_that_a_step_sends_arrives_with_a_seed(door: Door) -> None:
    (op,) = door.call("sends", "größer").ops
    (asked,) = door.server.asked_at("/e/")
    (sent,) = asked.json()
    assert (sent["name"], sent["data"]) == ("contract/sent", {"value": "größer"})
    assert op["data"] == {"ids": ["id-0"]}
    milliseconds, _, entropy = asked.headers["x-inngest-event-id-seed"].partition(",")
    assert (milliseconds.isdigit(), len(base64.b64decode(entropy))) == (True, 10)


def test_an_event_is_sent_with_key_and_environment(door: Door) -> None:
    assert door.cloud.call("sends", "größer").status == 206
    (asked,) = door.server.asked
    assert asked.target == f"/e/{EVENT_KEY}"
    assert asked.headers["x-inngest-env"] == BRANCH


def test_the_trace_of_a_call_goes_on_in_what_it_asks(door: Door) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    door.ask("POST", target("sends"), call_body("größer"), {"traceparent": trace})
    (asked,) = door.server.asked_at("/e/")
    assert asked.headers["traceparent"] == trace


def approval(door: Door) -> str:
    """The query of an approval's link."""
    (op,) = door.call("approves", "Größe <b>").ops
    parts = urlsplit(str(op["data"]["url"]))
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == door.url
    return parts.query


def test_the_link_of_an_approval_leads_to_a_page(door: Door) -> None:
    page = door.ask("GET", approval(door))
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "Größe &lt;b&gt;" in page.body.decode()


def test_the_page_of_an_approval_takes_a_decision(door: Door) -> None:
    query = approval(door)
    form = {"content-type": "application/x-www-form-urlencoded"}
    page = door.ask("POST", query, b"decision=approve&by=J%C3%BCrgen", form)
    assert (page.status, page.envelope) == (200, None)
    (asked,) = door.server.asked_at("/e/")
    (sent,) = asked.json()
    assert sent["name"] == "approval/decided"
    assert (sent["data"]["approved"], sent["data"]["by"]) == (True, "Jürgen")


def test_a_link_that_was_changed_is_not_valid(door: Door) -> None:
    page = door.ask("GET", approval(door)[:-1] + "!")
    assert 400 <= page.status < 500
    assert page.headers["content-type"] == "text/html; charset=utf-8"
