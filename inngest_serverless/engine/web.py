"""Reading requests and writing answers: what all routes share. It knows no engine."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from inngest_serverless.engine import durations, jsontext
from inngest_serverless.engine.model import JSON

MAX_BODY = 256 * 1024 * 1024
"""Bytes of a request. The events of one may have 3 MiB each; this only bounds the memory."""

_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


# ── reading requests ─────────────────────────────────────────────────────────────────────────────


async def body_of(request: Request, *, most: int = MAX_BODY) -> bytes:
    """The whole body; 413 if it has more bytes than `most`."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                refuse(413, f"the body is larger than {most} bytes; send less at a time")
            chunks.append(chunk)
    except ClientDisconnect:
        refuse(400, "the connection closed before the body was complete")
    return b"".join(chunks)


def ulid(text: str, noun: str) -> str:
    """An id in upper case; 400 if it is none."""
    if not _ULID.fullmatch(text.upper()):
        refuse(400, f"{text!r} is not a valid {noun}; it has 26 characters, such as 01J9ZK…")
    return text.upper()


def limit_of(request: Request, *, default: int, most: int = 1000) -> int:
    """The `limit` of the query, cut off at `most`; 400 if it is no number."""
    text = request.query_params.get("limit") or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        refuse(400, f"limit is {text!r}; it must be a number from 1 to {most}")
    return min(int(text), most)


def moment_of(request: Request, name: str) -> int | None:
    """A date of the query, in Unix milliseconds; 400 if it is none."""
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        # A "+" that was not escaped arrives as a space.
        return durations.date_ms(re.sub(r" (\d\d:\d\d)$", r"+\1", text))
    except (ValueError, OverflowError) as error:
        refuse(400, f"{name}: {error}")


# ── answers ──────────────────────────────────────────────────────────────────────────────────────


def json_answer(value: JSON, status: int = 200) -> Response:
    """An answer of JSON."""
    # Escaped, so that no text an app stored can be impossible to send.
    body = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Response(body, status, media_type="application/json")


def canonical_answer(value: JSON) -> Response:
    """As apps get it in a call: numbers through doubles, whichever way the state comes."""
    return Response(jsontext.canonical(value), media_type="application/json")


def _error(status: int, text: str) -> Response:
    return json_answer({"error": text, "data": None, "status": status}, status)


def refuse(status: int, text: str) -> NoReturn:
    """End the request with the common error body (engine.md 1.1)."""
    raise HTTPException(status, text)


async def http_error(request: Request, error: Exception) -> Response:
    """A refusal, ours or the router's, as the common error body."""
    assert isinstance(error, HTTPException)
    text = error.detail
    if error.status_code in (404, 405) and text in ("Not Found", "Method Not Allowed"):
        text = f"{text}: {request.method} {request.url.path}"
    response = _error(error.status_code, text)
    response.headers.update(error.headers or {})
    return response


async def own_error(request: Request, error: Exception) -> Response:
    """Ours, not the client's: the log has the traceback, the answer has not."""
    return _error(500, "internal error; the engine's log says more")
