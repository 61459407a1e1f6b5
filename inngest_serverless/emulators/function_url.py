"""Payload format 2.0: an HTTP request as a Function URL hands it to a function, and its answer.

Pure: values in, values out. The shapes are those of
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html, and for results in chunks of
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl

from inngest_serverless.emulators.http_server import Headers, HttpRequest, HttpResponse

TEXT_TYPES = frozenset({"application/json", "application/xml", "application/javascript"})
TEXT_SUFFIXES = ("+json", "+xml")
# Between two neighbours on the way, not for the function; cookies have a field of their own.
NOT_FORWARDED = frozenset(
    {"connection", "cookie", "expect", "keep-alive", "te", "transfer-encoding", "upgrade"}
)
# The server frames the body itself.
NOT_RETURNED = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
"""The content type of a streamed result that begins with status and headers."""
END_OF_PRELUDE = b"\0" * 8


class MalformedResponse(Exception):
    """The function's result cannot be made an HTTP response: the function's fault, status 502."""


@dataclass(frozen=True)
class Arrival:
    """What the front door knows of a request besides its bytes; `authority` is host:port."""

    request_id: str
    trace_id: str
    at: datetime
    authority: str


def event_from(request: HttpRequest, arrival: Arrival) -> dict[str, Any]:
    """Return the event; optional keys (cookies, query parameters, body) are absent, never null."""
    path, _, query = request.target.partition("?")
    # A real one names <id>.lambda-url.<region>.on.aws, always over https. Here both the name and
    # the scheme are those under which this request came, so that an app which builds its own
    # address from the event registers one that the caller can reach.
    authority = request.header("host") or arrival.authority
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        **_cookies(request.headers),
        "headers": {**_joined(request.headers), **_added_headers(request, arrival, authority)},
        **_query_parameters(query),
        "requestContext": _context(request, arrival, authority, path),
        **_body(request),
        "isBase64Encoded": bool(request.body) and not _is_text(request),
    }


def _joined(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        if name not in NOT_FORWARDED:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _added_headers(request: HttpRequest, arrival: Arrival, authority: str) -> dict[str, str]:
    return {
        "host": authority,
        "x-forwarded-for": request.client,
        "x-forwarded-port": arrival.authority.rpartition(":")[2],
        "x-forwarded-proto": "http",
        "x-amzn-trace-id": arrival.trace_id,
    }


def _cookies(headers: Headers) -> dict[str, list[str]]:
    values = [value for name, value in headers if name == "cookie"]
    cookies = [part.strip() for value in values for part in value.split(";") if part.strip()]
    return {"cookies": cookies} if cookies else {}


def _query_parameters(query: str) -> dict[str, dict[str, str]]:
    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return {"queryStringParameters": joined} if joined else {}


def _context(request: HttpRequest, arrival: Arrival, authority: str, path: str) -> dict[str, Any]:
    at = arrival.at.astimezone(timezone.utc)
    label = authority.partition(":")[0].partition(".")[0]
    return {
        "accountId": "anonymous",
        "apiId": label,
        "authentication": None,
        "domainName": authority,
        "domainPrefix": label,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.client,
            "userAgent": request.header("user-agent"),
        },
        "requestId": arrival.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(at.timestamp() * 1000),
    }


def _body(request: HttpRequest) -> dict[str, str]:
    if not request.body:
        return {}
    if _is_text(request):
        return {"body": request.body.decode("utf-8")}
    return {"body": base64.b64encode(request.body).decode("ascii")}


def _is_text(request: HttpRequest) -> bool:
    media_type = request.header("content-type").partition(";")[0].strip().lower()
    named_text = media_type.startswith("text/") or media_type in TEXT_TYPES
    if not (named_text or media_type.endswith(TEXT_SUFFIXES)) or request.header("content-encoding"):
        return False
    try:
        request.body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def response_from(result: bytes) -> HttpResponse:
    """Return the HTTP answer that a function's result (the JSON as posted) stands for.

    Without a `statusCode` the whole JSON is the body of a 200. Raises MalformedResponse.
    """
    try:
        value: Any = json.loads(result)
    except ValueError:
        raise MalformedResponse("the handler's result is not JSON; return a dict or text") from None
    if not isinstance(value, dict) or "statusCode" not in value:
        return HttpResponse(200, (("content-type", "application/json"),), result)
    return HttpResponse(_status(value["statusCode"]), _headers(value), _raw_body(value))


def head_from(prelude: bytes) -> HttpResponse:
    """Return the HTTP answer, still without a body, that a streamed result begins with.

    Raises MalformedResponse.
    """
    try:
        value: Any = json.loads(prelude)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise MalformedResponse("the prelude of the streamed result is not a JSON object")
    return HttpResponse(_status(value.get("statusCode", 200)), _headers(value))


def _status(value: Any) -> int:
    status = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(status, int) and 200 <= status <= 599:
        return status
    raise MalformedResponse(f"statusCode is {value!r}; return a number from 200 to 599")


def _headers(value: dict[str, Any]) -> Headers:
    headers = value.get("headers") or {}
    if not isinstance(headers, dict):
        raise MalformedResponse(f"headers is {headers!r}; return a dict of name to value")
    pairs = [(name.lower(), _header_value(name, content)) for name, content in headers.items()]
    if "content-type" not in dict(pairs):
        pairs.append(("content-type", "application/json"))
    cookies = value.get("cookies") or []
    if not (isinstance(cookies, list) and all(isinstance(cookie, str) for cookie in cookies)):
        raise MalformedResponse(f"cookies is {cookies!r}; return a list of str")
    kept = tuple(pair for pair in pairs if pair[0] not in NOT_RETURNED)
    return kept + tuple(("set-cookie", cookie) for cookie in cookies)


def _header_value(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, (str, int, float)) or "\n" in text or "\r" in text:
        raise MalformedResponse(f"the header {name} is {value!r}; return one line of text")
    return text


def _raw_body(value: dict[str, Any]) -> bytes:
    body = value.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponse(f"body is a {type(body).__name__}; return a str (json.dumps it)")
    if not value.get("isBase64Encoded"):
        return body.encode("utf-8")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedResponse("isBase64Encoded is true, but body is not base64") from None
