"""HTTP requests that the Inngest server makes for a step, while no function runs (wire.md A9, A10).

Knows no transport: the request is an op, the answer a memo. The whole request, headers included,
is told to the server and kept in the run's history; Inngest's cloud refuses private addresses
(wire.md T7).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias
from urllib.parse import urlsplit

from inngest_sdk.errors import FunctionConfigInvalidError, NonRetriableError
from inngest_sdk.http import dumps, header_map
from inngest_sdk.steps import Op

FetchBody: TypeAlias = "str | bytes | Mapping[str, Any] | Sequence[Any]"

MAX_REQUEST_BYTES = 4 * 1024 * 1024  # of JSON: what a step may be given (wire.md T12)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f]")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_USER_AND_QUERY = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)


class FetchStatusError(NonRetriableError):
    """The status of a fetched response is not 2xx.

    Not retriable: the response is remembered, and the function would meet it again.
    """

    code = "fetch_status"

    def __init__(self, message: str, response: FetchResponse) -> None:
        super().__init__(message)
        self.response = response


@dataclass(frozen=True)
class FetchRequest:
    """A request as the server is to make it; `fetch_request` checks one. Its repr leaves out what
    may be secret."""

    url: str
    method: str
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True)
class FetchResponse:
    """What a request came to. `headers` has lower-case names; `url` is the last after redirects."""

    status_code: int
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    @property
    def text(self) -> str:
        """The body."""
        return self.body

    def json(self) -> Any:
        """Read the body as JSON. Raises ValueError if it is none."""
        return json.loads(self.body)

    def raise_for_status(self) -> FetchResponse:
        """Return this response. Raises FetchStatusError unless its status is 2xx."""
        if self.ok:
            return self
        raise FetchStatusError(
            f"{shown_url(self.url)} answered {self.status_code}: {self.body[:200]!r}", self
        )


def fetch_request(
    step_id: str,
    url: str,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: FetchBody | None = None,
) -> FetchRequest:
    """Check a request.

    The method is GET, or POST where there is a body. A dict or list is sent as JSON, and says so
    unless `headers` has a content-type.

    Raises FunctionConfigInvalidError for what is no request: a URL that is not absolute, a header
    that is not text, bytes that are not UTF-8.
    """
    what = f"step {step_id!r}"
    text, is_json = _body_text(what, body)
    sent = checked_headers(what, headers)
    if is_json and "content-type" not in {name.lower() for name in sent}:
        sent["content-type"] = "application/json"
    if method is None:
        method = "GET" if body is None else "POST"
    return FetchRequest(absolute_url(what, "url", url), _method(what, method), sent, text)


def gateway_op(step_id: str, request: FetchRequest) -> Op:
    """A request that the server makes. The body is text and the method always there: a server
    takes one without a method for a POST (wire.md Q7).

    Raises FunctionConfigInvalidError for a request of more than 4 MB.
    """
    opts = {
        "url": request.url,
        "method": request.method,
        "headers": dict(request.headers),
        "body": request.body,
    }
    check_size(f"step {step_id!r}", opts)
    return Op("Gateway", step_id, opts)


def response_from(step_id: str, memo: object) -> FetchResponse:
    """Read what a request came to. Raises NonRetriableError for the memo of another step."""
    match memo:
        case {"status_code": int(status), "url": str(url), "body": str(body), **more}:
            return FetchResponse(status, url, _header_texts(more.get("headers")), body)
    raise NonRetriableError(
        f"step {step_id!r} fetches, but what it came to is no response. Was it another kind of "
        "step when this run began? Give the new one another id."
    )


def _header_texts(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        return {}
    return header_map(
        (name, ", ".join(value) if isinstance(value, list) else str(value))
        for name, value in headers.items()
    )


def absolute_url(what: str, option: str, url: object) -> str:
    """Return a URL that a server elsewhere can call. Raises FunctionConfigInvalidError."""
    if not isinstance(url, str):
        _refuse(what, f"{option} is {type(url).__name__}; it takes text")
    example = "such as 'https://example.com/orders'"
    # Python's parser drops tabs and newlines without a word.
    if found := _NOT_IN_URLS.search(url):
        _refuse(
            what, f"{option} has {found.group()!r} in it; escape it, as %{ord(found.group()):02X}"
        )
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        url.encode()
    except ValueError as error:
        _refuse(what, f"{option} is {shown_url(url)!r}: {error}; it takes a URL {example}")
    if not valid:
        _refuse(what, f"{option} is {shown_url(url)!r}; it takes an absolute URL {example}")
    return url


def shown_url(url: str) -> str:
    """The URL for a message, without what may be secret: user, password, query."""
    return _USER_AND_QUERY.sub("", url)[:200]


def checked_headers(what: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers as a dict of texts. Raises FunctionConfigInvalidError, which shows no value:
    one may be secret."""
    if headers is not None and not isinstance(headers, Mapping):
        _refuse(what, f"headers are {type(headers).__name__}; they take a dict of texts")
    checked = dict(headers or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            _refuse(what, f"{name!r} is no name of a header")
        if not isinstance(value, str):
            _refuse(what, f"header {name!r} is {type(value).__name__}; it takes text")
        if _NOT_IN_VALUES.search(value):
            _refuse(what, f"header {name!r} has a control character, such as a newline, in it")
    return checked


def check_size(what: str, opts: Mapping[str, Any]) -> None:
    """Raise FunctionConfigInvalidError for opts that are not JSON, or larger than a step's input
    may be."""
    try:
        size = len(dumps(opts))
    except (TypeError, ValueError, RecursionError) as error:
        _refuse(what, f"the request is not JSON: {error}")
    if size > MAX_REQUEST_BYTES:
        _refuse(
            what,
            f"the request has {size:,} bytes as JSON; a step takes {MAX_REQUEST_BYTES:,} at most: "
            "send it from a step of your own, with step.run",
        )


def _method(what: str, method: object) -> str:
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        _refuse(what, f"method is {method!r}; it takes one such as 'GET'")
    return method.upper()


def _body_text(what: str, body: object) -> tuple[str, bool]:
    """The body as text, and whether it was made into JSON."""
    match body:
        case None:
            return "", False
        case str():
            return body, False
        case bytes():
            try:
                return body.decode(), False
            except UnicodeDecodeError as error:
                _refuse(
                    what,
                    f"body is bytes that are not UTF-8 ({error}); a request of the server carries "
                    "text only: encode them (base64), or send them with step.run",
                )
        case Mapping() | list() | tuple():
            try:
                return dumps(body).decode(), True
            except (TypeError, ValueError, RecursionError) as error:
                _refuse(what, f"body is not JSON: {error}")
    _refuse(what, f"body is {type(body).__name__}; it takes text, UTF-8 bytes, a dict or a list")


def _refuse(what: str, problem: str) -> NoReturn:
    raise FunctionConfigInvalidError(f"{what}: {problem}")
