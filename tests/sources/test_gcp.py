"""The bridge from Google Cloud, in functions-framework itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework
import httpx
import pytest
from cloudevents.http import CloudEvent

from inngest_serverless import gcp
from inngest_serverless.forwarding import ForwardError
from tests.gcp.running import running
from tests.sources.event_api import EventApi
from tests.sources.shapes import AT, AT_MS, b64

APPS = Path(__file__).parent / "apps"

SUBSCRIPTION = "projects/shop-1/subscriptions/orders"
PUSH: dict[str, Any] = {
    "message": {
        "attributes": {"tenant": "acme"},
        "data": b64('{"total": 9.5}'),
        "messageId": "2070443601311540",
        "message_id": "2070443601311540",
        "publishTime": AT,
        "publish_time": AT,
        "orderingKey": "order-7",
    },
    "subscription": SUBSCRIPTION,
}
PUBSUB = {
    "specversion": "1.0",
    "id": "2070443601311540",
    "source": "//pubsub.googleapis.com/projects/shop-1/topics/orders",
    "type": "google.cloud.pubsub.topic.v1.messagePublished",
    "time": AT,
}
STORAGE = {
    "specversion": "1.0",
    "id": "1096434104173400",
    "source": "//storage.googleapis.com/projects/_/buckets/invoices",
    "type": "google.cloud.storage.object.v1.finalized",
    "subject": "objects/2026/1.pdf",
    "time": AT,
}
OBJECT = {"bucket": "invoices", "name": "2026/1.pdf", "generation": "1", "size": "352"}

PUBSUB_EVENT = {
    "name": "gcp/pubsub.message",
    "id": "pubsub:2070443601311540",
    "ts": AT_MS,
    "data": {
        "topic": "orders",
        "subscription": SUBSCRIPTION,
        "message_id": "2070443601311540",
        "publish_time": AT,
        "ordering_key": "order-7",
        "attributes": {"tenant": "acme"},
        "body": {"total": 9.5},
        "encoding": "json",
    },
}
STORAGE_EVENT = {
    "name": "gcp/storage.object.finalized",
    "id": "ce://storage.googleapis.com/projects/_/buckets/invoices:1096434104173400",
    "ts": AT_MS,
    "data": {
        **{key: value for key, value in STORAGE.items() if key != "specversion"},
        "data": OBJECT,
    },
}


def binary(attributes: dict[str, str], data: object) -> tuple[dict[str, str], bytes]:
    """An event in HTTP's binary mode, as Eventarc delivers it."""
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    return {**headers, "content-type": "application/json"}, json.dumps(data).encode()


@pytest.mark.parametrize(
    ("attributes", "data", "expected"),
    [(PUBSUB, PUSH, PUBSUB_EVENT), (STORAGE, OBJECT, STORAGE_EVENT)],
    ids=["pubsub", "storage"],
)
@pytest.mark.parametrize("target", ["main.py", "asgi_main.py"])
def test_a_cloud_event_becomes_an_event_in_a_real_server(
    target: str, attributes: dict[str, str], data: object, expected: object, api: EventApi
) -> None:
    environ = {"INNGEST_EVENT_API_BASE_URL": api.origin}
    headers, body = binary(attributes, data)
    with running("orders", source=APPS / target, environ=environ) as function:
        answer = httpx.post(function.url, headers=headers, content=body, trust_env=False)
        assert answer.status_code == 200
        assert api.events == [expected]
        api.takes = 0
        again = httpx.post(function.url, headers=headers, content=body, trust_env=False)
    assert again.status_code == 500


@pytest.fixture(name="web")
def web_fixture(api: EventApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Clients of functions of apps/main.py."""
    monkeypatch.setenv("INNGEST_DEV", "1")
    monkeypatch.setenv("INNGEST_EVENT_API_BASE_URL", api.origin)
    monkeypatch.delenv("FUNCTION_SIGNATURE_TYPE", raising=False)

    # What it imports the source as, and from where, is kept for one test.
    monkeypatch.syspath_prepend(APPS)
    monkeypatch.delitem(sys.modules, "main", raising=False)

    def client(target: str) -> Any:
        create_app: Any = functions_framework.create_app  # without types
        app = create_app(target, str(APPS / "main.py"))
        return app.test_client()

    yield client
    sys.modules.pop("main", None)


def test_an_event_in_structured_mode_becomes_one(api: EventApi, web: Any) -> None:
    headers = {"content-type": "application/cloudevents+json"}
    body = json.dumps({**STORAGE, "data": OBJECT})
    assert web("orders").post("/", headers=headers, data=body).status_code == 200
    assert api.events == [STORAGE_EVENT]


# functions-framework's own, on Python 3.12 and later.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_a_push_to_a_cloud_event_function_becomes_one(api: EventApi, web: Any) -> None:
    assert web("orders").post("/projects/shop-1/topics/orders", json=PUSH).status_code == 200
    (event,) = api.events
    assert (event["name"], event["id"], event["ts"]) == (
        "gcp/pubsub.message",
        "pubsub:2070443601311540",
        AT_MS,
    )
    assert event["data"]["body"] == {"total": 9.5}


def test_a_push_to_an_http_function_becomes_an_event(api: EventApi, web: Any) -> None:
    answer = web("pushed").post("/", json=PUSH)
    assert (answer.status_code, answer.data) == (204, b"")
    (event,) = api.events
    topicless = {key: each for key, each in PUBSUB_EVENT["data"].items() if key != "topic"}  # type: ignore[attr-defined]  # a dict among strings
    assert event == {**PUBSUB_EVENT, "data": topicless}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"message": 7}'])
def test_a_push_that_is_none_is_pushed_again(body: bytes, api: EventApi, web: Any) -> None:
    assert web("pushed").post("/", data=body).status_code == 500
    assert api.requests == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("google.cloud.audit.log.v1.written", "gcp/audit.log.written"),
        ("google.firebase.auth.user.v2.created", "gcp/firebase.auth.user.created"),
        ("com.acme.Shop.v10.OrderPlaced", "gcp/com.acme.shop.orderplaced"),
    ],
)
def test_a_cloud_event_is_named_by_its_type(kind: str, name: str, api: EventApi) -> None:
    gcp.forward(api.client())(CloudEvent({"type": kind, "source": "//here"}, {"x": 1}))
    assert api.events[0]["name"] == name


def test_data_that_is_no_json_is_read_like_a_body(api: EventApi) -> None:
    gcp.forward(api.client())(CloudEvent({"type": "a.b", "source": "//here"}, b"\x08\xff"))
    data = api.events[0]["data"]
    assert (data["body"], data["encoding"]) == ("CP8=", "base64")


def test_a_message_of_attributes_alone_has_an_empty_body(api: EventApi) -> None:
    bare = {"message": {"attributes": {"a": "b"}, "messageId": "1"}}
    gcp.forward(api.client())({**PUBSUB, "data": bare})
    assert api.events[0]["data"]["body"] == ""


@pytest.mark.parametrize("event", [None, {}, "x", {"type": 7}, {**PUBSUB, "data": None}])
def test_what_is_no_cloud_event_is_poison(event: object, api: EventApi) -> None:
    with pytest.raises(ForwardError):
        gcp.forward(api.client())(event)
    gcp.forward(api.client(), on_poison="drop")(event)  # does not raise
