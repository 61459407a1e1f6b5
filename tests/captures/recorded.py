"""Reads the captures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inngest_sdk.http import Request, Response, dumps

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Exchange:
    """One recorded exchange. `whole` says that the body is here byte for byte."""

    line: int
    at: float
    to_app: bool
    request: Request
    answer: Response
    whole: bool

    @property
    def name(self) -> str:
        """What the exchange is about, for a test's id."""
        query = self.request.query
        step = query.get("stepId", "")[:6]
        return f"line {self.line}: {self.request.method} {query.get('fnId', '')} {step}"


def exchanges(name: str) -> Iterator[Exchange]:
    """The exchanges of one capture, in order."""
    with (HERE / f"{name}.jsonl").open() as lines:
        for number, line in enumerate(lines, 1):
            yield _exchange(number, json.loads(line))


def _exchange(line: int, row: dict[str, Any]) -> Exchange:
    sent, got = row["request"], row["response"]
    raw = sent.get("raw_body")
    query = f"?{sent['query']}" if sent.get("query") else ""
    url = f"http://{sent['headers']['host']}{sent['path']}{query}"
    body = raw.encode() if raw else dumps(sent["body"]) if sent["body"] is not None else b""
    request = Request(sent["method"], url, sent["headers"], body)
    answer = Response(got["status"], got["headers"], dumps(got["body"]))
    to_app = row["direction"] == "server-to-app"
    return Exchange(line, row["t"], to_app, request, answer, raw is not None or not body)
