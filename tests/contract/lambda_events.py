"""A request as the services before Lambda hand it over, and their reading of the answer. Pure.

Each shape is an event of tests/aws/events with another request put into it. How a service treats
the query is told there and in https://docs.aws.amazon.com: API Gateway's payload 1.0 and REST
events hold it decoded, those of load balancers and VPC Lattice as it came.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

Event: TypeAlias = "dict[str, Any]"
Pairs: TypeAlias = "list[tuple[str, str]]"

EVENTS = Path(__file__).parent.parent / "aws" / "events"
API = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
LATTICE = "shop-0a40eebed65f8d69c.7d67968.vpc-lattice-svcs.eu-central-1.on.aws"
TEXT = ("text/", "application/json")


@dataclass(frozen=True)
class Asking:
    """A request on its way: `target` is the public path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Shape:
    """One kind of event: `origin` and `path` are the app's public URL."""

    origin: str
    path: str
    event: Callable[[Asking], Event]
    answers_with_lists: bool = False


def http_api(asking: Asking) -> Event:
    """API Gateway's HTTP API, payload format 2.0."""
    event = _template("http_api", asking)
    joined: dict[str, str] = {}
    for name, text in parse_qsl(asking.query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{text}" if name in joined else text
    event |= {"rawPath": asking.path, "rawQueryString": asking.query}
    event |= {"queryStringParameters": joined, "headers": dict(asking.headers)}
    event["requestContext"]["domainName"] = API
    event["requestContext"]["http"] |= {"method": asking.method, "path": asking.path}
    return event


def http_api_payload_1(asking: Asking) -> Event:
    """API Gateway's HTTP API, payload format 1.0."""
    event = _gateway("http_api_payload_1", asking)
    event["requestContext"]["domainName"] = API
    return event


def rest_api(asking: Asking) -> Event:
    """API Gateway's REST API: the path has lost its stage, the context still has it."""
    event = _gateway("rest_api", asking)
    event["path"] = asking.path.removeprefix("/prod")
    event["requestContext"] |= {"path": asking.path, "domainName": API}
    return event


def alb(asking: Asking) -> Event:
    """An Application Load Balancer."""
    event = _template("alb", asking)
    event |= {"httpMethod": asking.method, "path": asking.path, "headers": dict(asking.headers)}
    event["queryStringParameters"] = dict(_raw_pairs(asking.query))
    return event


def alb_multi_value(asking: Asking) -> Event:
    """A load balancer whose target group has lambda.multi_value_headers.enabled."""
    event = _template("alb_multi_value", asking)
    event |= {"httpMethod": asking.method, "path": asking.path}
    event["multiValueHeaders"] = {name: [text] for name, text in asking.headers.items()}
    event["multiValueQueryStringParameters"] = _lists(_raw_pairs(asking.query))
    return event


def vpc_lattice(asking: Asking) -> Event:
    """VPC Lattice, event version 2."""
    event = _template("vpc_lattice", asking)
    event |= {"method": asking.method, "path": asking.path}
    event["headers"] = {name: [text] for name, text in asking.headers.items()}
    event["queryStringParameters"] = _lists(_raw_pairs(asking.query))
    return event


def direct(asking: Asking) -> Event:
    """Whoever may invoke the function, with no service between."""
    url = f"https://{asking.headers['host']}{asking.target}"
    inner = {"method": asking.method, "url": url, "headers": dict(asking.headers)}
    return {"inngest": inner | _body(asking)}


SHAPES = {
    "http_api": Shape(f"https://{API}", "/api/inngest", http_api),
    "http_api_payload_1": Shape(f"https://{API}", "/api/inngest", http_api_payload_1),
    "rest_api": Shape(f"https://{API}", "/prod/api/inngest", rest_api),
    "alb": Shape("https://shop.example", "/api/inngest", alb),
    "alb_multi_value": Shape("https://shop.example", "/api/inngest", alb_multi_value, True),
    "vpc_lattice": Shape(f"https://{LATTICE}", "/api/inngest", vpc_lattice),
    "direct": Shape("https://shop.example", "/api/inngest", direct),
}


def read(shape: Shape, result: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that the service would send for the function's result."""
    if shape.answers_with_lists:
        headers = {name: ",".join(texts) for name, texts in result["multiValueHeaders"].items()}
    else:
        headers = dict(result["headers"])
    body = result["body"]
    raw = base64.b64decode(body) if result["isBase64Encoded"] else body.encode()
    return result["statusCode"], headers, raw


def _gateway(name: str, asking: Asking) -> Event:
    pairs = parse_qsl(asking.query, keep_blank_values=True)
    titled = {name.title(): text for name, text in asking.headers.items()}
    event = _template(name, asking)
    event |= {"httpMethod": asking.method, "path": asking.path, "headers": titled}
    event["multiValueHeaders"] = {name: [text] for name, text in titled.items()}
    event["queryStringParameters"] = dict(pairs) or None
    event["multiValueQueryStringParameters"] = _lists(pairs) or None
    return event


def _template(name: str, asking: Asking) -> Event:
    event: Event = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return event | _body(asking)


def _body(asking: Asking) -> Event:
    if not asking.body:
        return {"body": None, "isBase64Encoded": False}
    if asking.headers.get("content-type", "").startswith(TEXT):
        return {"body": asking.body.decode(), "isBase64Encoded": False}
    return {"body": base64.b64encode(asking.body).decode(), "isBase64Encoded": True}


def _raw_pairs(query: str) -> Pairs:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, text) for name, _, text in pairs]


def _lists(pairs: Pairs) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for name, text in pairs:
        lists.setdefault(name, []).append(text)
    return lists
