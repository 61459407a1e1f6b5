"""Events as the front doors of Lambda send them, from events/*.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import pytest

Event: TypeAlias = dict[str, Any]

EVENTS = Path(__file__).parent / "events"
FRONT_DOORS = (
    "function_url",
    "http_api",
    "rest_api",
    "http_api_payload_1",
    "alb",
    "alb_multi_value",
    "vpc_lattice",
    "direct",
)


def load(name: str) -> Event:
    event: Event = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return event


def ask(name: str, method: str, query: str = "", body: str | None = None) -> Event:
    """The event of events/<name>.json, asking for something else, as no server in particular."""
    event = load(name)
    if name == "direct":
        url = f"/api/inngest?{query}" if query else "/api/inngest"
        return {"inngest": {"method": method, "url": url, "body": body}}
    for field in {"headers", "multiValueHeaders"} & set(event):
        kept = (item for item in event[field].items() if "x-inngest" not in item[0].lower())
        event[field] = dict(kept)
    pairs = parse_qs(query, keep_blank_values=True)
    if "http" in event["requestContext"]:
        event["requestContext"]["http"]["method"] = method
        event["rawQueryString"] = query
        event["queryStringParameters"] = {key: ",".join(values) for key, values in pairs.items()}
    else:
        event["method" if name == "vpc_lattice" else "httpMethod"] = method
        if "queryStringParameters" in event:
            event["queryStringParameters"] = {k: values[-1] for k, values in pairs.items()} or None
        if "multiValueQueryStringParameters" in event:
            event["multiValueQueryStringParameters"] = pairs or None
    event["body"] = body
    return event


@pytest.fixture(name="load")
def load_fixture() -> Callable[[str], Event]:
    return load


@pytest.fixture(name="ask")
def ask_fixture() -> Callable[..., Event]:
    return ask


@pytest.fixture(name="front_door_name", params=FRONT_DOORS)
def front_door_name_fixture(request: pytest.FixtureRequest) -> str:
    """Each front door in turn."""
    name: str = request.param
    return name
