"""A request of functions-framework, Flask's or Starlette's, as a Request. Knows no answer.

The URL that the app registers is made from the request:

    the scheme   https if the server or the proxy in front of it says so: on Cloud Run TLS ends at
                 Google's front end, and both servers of functions-framework see plain HTTP from a
                 peer whose word on it they do not take (platforms.md C)
    the path     behind *.cloudfunctions.net the front end takes the function's name off it, which
                 is put back; everywhere else it is as it came
    the query    as it came, byte for byte: what Flask calls the URL has its escapes undone
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from inngest_sdk.errors import BodyInvalidError, BodyTooLargeError
from inngest_sdk.http import Request, header_map
from inngest_sdk.public_url import encoded_path, forwarded_scheme, is_host, join
from inngest_serverless.gcp.environment import Environment

if TYPE_CHECKING:
    from flask import Request as FlaskRequest
    from starlette.requests import Request as StarletteRequest

# What Cloud Run lets through (HTTP/1). Other servers have no limit of their own, and the one of
# the Inngest server is far below (wire.md T12).
MAX_BODY_BYTES = 32 * 1024 * 1024

# us-central1-shop.cloudfunctions.net, and orders-123456789012.europe-west1.run.app
_REGION = re.compile(
    r"([a-z]+-[a-z]+[0-9]+)-[a-z0-9.:-]+\.cloudfunctions\.net"
    r"|[a-z0-9-]+\.([a-z]+-[a-z]+[0-9]+)\.run\.app"
)


def request_from_flask(request: FlaskRequest, environment: Environment) -> Request:
    """Translate a request of the blocking mode. Raises BodyTooLargeError."""
    headers = header_map(request.headers.items())
    _check_length(headers)
    body = request.get_data()
    _check_size(len(body))
    server = _authority(request.server)
    path = _public_path(request.path, headers, environment)
    url = join(_scheme(request.scheme, headers), _host(headers, server), path, request.query_string)
    return Request(request.method.upper(), url, headers, body)


async def request_from_starlette(request: StarletteRequest, environment: Environment) -> Request:
    """Translate a request of the async mode. Raises BodyTooLargeError, and BodyInvalidError when
    the client hangs up before it is complete."""
    scope = request.scope
    headers = header_map(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    )
    _check_length(headers)
    body = await _body(request)
    server = _authority(scope.get("server"))
    path = _public_path(scope["path"], headers, environment)
    query = scope.get("query_string", b"")
    url = join(_scheme(scope.get("scheme"), headers), _host(headers, server), path, query)
    return Request(scope["method"].upper(), url, headers, body)


def event_in(request: Request) -> str | None:
    """Name the event that came here instead of to a function with a trigger; None for none.

    CloudEvents tell themselves by their headers or their content type; Pub/Sub, which pushes to
    any URL, by the two fields of its body.
    """
    kind = request.headers.get("ce-type")
    if kind and "ce-specversion" in request.headers:
        return f"a CloudEvent of type {kind[:100]!r}"
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("application/cloudevents"):
        return "a CloudEvent"
    is_call = "fnId" in request.query or "x-inngest-signature" in request.headers
    if request.method == "POST" and not is_call and _is_push(request.body):
        return "a Pub/Sub message"
    return None


def region_of(host: str) -> str:
    """The region in the host that was called; "unknown" where Google's names do not hold it.

    Good for telling, and for nothing else: no variable has it, and a host is what clients say.
    """
    match = _REGION.fullmatch(host.lower())
    return (match[1] or match[2]) if match else "unknown"


def _is_push(body: bytes) -> bool:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and {"message", "subscription"} <= said.keys()


async def _body(request: StarletteRequest) -> bytes:
    from starlette.requests import ClientDisconnect

    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            _check_size(size)
    except ClientDisconnect:
        raise BodyInvalidError("the client hung up before its request was complete") from None
    return b"".join(chunks)


def _check_length(headers: Mapping[str, str]) -> None:
    said = headers.get("content-length", "")
    if said.isdecimal():
        # Not int() of what may have thousands of digits.
        _check_size(int(said) if len(said) < 20 else 10**19)


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise BodyTooLargeError(
            f"the request's body has {size:,} bytes or more; Cloud Run takes at most "
            f"{MAX_BODY_BYTES:,}"
        )


def _scheme(spoken: str | None, headers: Mapping[str, str]) -> str:
    # Upwards only: a header cannot undo the TLS that the server itself speaks.
    return "https" if "https" in (spoken, forwarded_scheme(headers)) else "http"


def _host(headers: Mapping[str, str], server: str) -> str:
    host = headers.get("host")
    return host if host is not None and is_host(host) else server


def _authority(server: tuple[str, int | None] | None) -> str:
    name, port = server or ("localhost", None)
    name = f"[{name}]" if ":" in name and not name.startswith("[") else name
    return f"{name}:{port}" if port else name


def _public_path(path: str, headers: Mapping[str, str], environment: Environment) -> str:
    path = encoded_path(path)
    host = headers.get("host", "").lower().partition(":")[0]
    if environment.service is None or not host.endswith(".cloudfunctions.net"):
        return path
    # The bare name is how such a URL is shown, and the same place as the one with a slash.
    return f"/{encoded_path(environment.service)}{'' if path == '/' else path}"
