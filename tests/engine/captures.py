"""Recorded traffic between a real server and the official SDKs, for the tests in this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "captures"
FILES = ("py-dev.jsonl", "py-signed.jsonl", "js-dev.jsonl")
SIGNING_KEY = "7468697320697320612074657374206b6579"


def exchanges(name: str) -> list[dict[str, Any]]:
    """Every exchange of one file."""
    return [json.loads(line) for line in (_FOLDER / name).read_text("utf-8").splitlines()]


def all_calls() -> list[dict[str, Any]]:
    """Every call of an app by the server."""
    return [
        exchange
        for name in FILES
        for exchange in exchanges(name)
        if exchange["direction"] == "server-to-app" and exchange["request"]["method"] == "POST"
    ]


def label(exchange: dict[str, Any]) -> str:
    """A name for an exchange in a table of tests."""
    request = exchange["request"]
    name = request["query"].partition("&")[0].removeprefix("fnId=")
    return f"{name}-{exchange['response']['status']}-{request['headers']['x-request-id']}"


def is_whole(value: Any) -> bool:
    """Whether nothing was cut out of it when it was recorded."""
    return "characters cut]" not in json.dumps(value)


def response_bytes(exchange: dict[str, Any]) -> bytes:
    """The answer's body as it came, or as JSON that means the same."""
    response = exchange["response"]
    raw = response["raw_body"]
    return (json.dumps(response["body"]) if raw is None else raw).encode()
