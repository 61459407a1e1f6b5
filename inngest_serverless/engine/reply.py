"""What an app's answer means: (status, headers, body) → Ops | Finished | Failed (engine.md 3.4).

Pure. It knows the forms of an answer, and nothing of runs, attempts or limits on steps.

    201 ──► the document inside the stream ──► read again by its own status
    206 ──► ops        other 2xx ──► the function returned        the rest ──► it failed
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, cast

from inngest_serverless.engine import jsontext
from inngest_serverless.engine.model import JSON, Failed, Finished, Ops, Reply
from inngest_serverless.engine.transport import MAX_ANSWER

_MAX_STACK = 8192

_OPS = frozenset(
    {
        *("None", "Step", "StepRun", "StepError", "StepFailed", "StepPlanned"),
        *("Sleep", "WaitForEvent", "WaitForSignal", "InvokeFunction", "AIGateway", "Gateway"),
        *("RunComplete", "SyncRunComplete", "DiscoveryRequest", "DeferAdd", "DeferAbort"),
    }
)
_MIN_RETRY_MS = 1_000
_MAX_RETRY_MS = 24 * 60 * 60 * 1_000


class _Invalid(Exception):
    """The answer breaks the protocol; the text says how."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_from_sdk(self) -> bool:
        return bool(self.headers.get("x-inngest-sdk"))

    @property
    def no_retry(self) -> bool:
        return self.headers.get("x-inngest-no-retry", "").strip().lower() == "true"

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def read_reply(status: int, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> Reply:
    """Read one answer. Never raises: what cannot be read is a Failed that says why."""
    folded = {name.lower(): value for name, value in headers.items()}
    try:
        answer = _Answer(status, folded, _decoded(body, folded.get("content-encoding", "")))
        if status == 201:
            answer = _unwrapped(answer)
    except _TooLarge as error:
        return output_too_large(str(error))
    except _NotAnSdk as error:
        return _not_an_sdk(error.answer)
    except _Invalid as error:
        return failed(str(error))
    return _classified(answer, now_ms)


def failed(
    text: str, *, stack: str | None = None, retriable: bool = True, output: JSON = None
) -> Failed:
    """A failure that is the engine's to word: `output` is the error itself unless given."""
    error: dict[str, JSON] = {"error": text, "name": "Error", "message": text}
    if stack is not None:
        error["stack"] = stack
    return Failed(error, error if output is None else output, retriable)


def output_too_large(text: str) -> Failed:
    """The end of a run whose answer is over the limit; the error's code is fixed (2.13)."""
    error = {"error": f"output_too_large: {text}", "name": "output_too_large", "message": text}
    return Failed(error, {"error": error}, retriable=False)


def _classified(answer: _Answer, now_ms: int) -> Reply:
    try:
        if answer.status == 206:
            return _ops(answer, now_ms)
        if 200 <= answer.status < 300:
            return _returned(answer, now_ms)
    except _Invalid as error:
        return failed(str(error), output={"error": failed(str(error)).error})
    return _raised(answer, now_ms) if answer.is_from_sdk else _upstream_failed(answer)


# ── 206: ops ─────────────────────────────────────────────────────────────────────────────────────


def _ops(answer: _Answer, now_ms: int) -> Reply:
    found = _op_list(answer)
    if not answer.is_from_sdk:
        return _not_an_sdk(answer)
    return Ops(
        tuple(_op(index, op) for index, op in enumerate(found)),
        request_version(answer.headers),
        not answer.no_retry,
        retry_at_ms(answer.headers, now_ms),
    )


def _op_list(answer: _Answer) -> list[Any]:
    if not answer.body.strip():
        raise _Invalid("the answer 206 has no body; it must hold a JSON array of ops")
    try:
        found = jsontext.read(answer.body)
    except ValueError as error:
        raise _Invalid(
            f"the answer 206 is not JSON ({error}); it begins {answer.text[:200]!r}"
        ) from None
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise _Invalid(f"the answer 206 must hold an array of ops, not {_shown(found)}")
    return found


def _op(index: int, op: Any) -> dict[str, JSON]:
    """Check that this is an op; what it holds is for `ops` to judge."""
    if not isinstance(op, dict):
        raise _Invalid(f"op {index} of the answer is {_shown(op)}; an op is a JSON object")
    kind = "AIGateway" if op.get("op") == "AiGateway" else op.get("op")
    if not isinstance(kind, str) or kind not in _OPS:
        raise _Invalid(f"op {index} of the answer has the unknown kind {_shown(op.get('op'))}")
    if kind in ("StepError", "StepFailed") and not isinstance(op.get("error"), dict):
        raise _Invalid(f"op {index} of the answer is a {kind} without an error")
    return {**op, "op": kind}


# ── other 2xx: the function returned ─────────────────────────────────────────────────────────────


def _returned(answer: _Answer, now_ms: int) -> Reply:
    if not answer.is_from_sdk:
        return _not_an_sdk(answer)
    output = _json_or_text(answer)
    retry_at = retry_at_ms(answer.headers, now_ms)
    # The real server takes both headers for a failure, whatever the status (wire.md T4): an app
    # that sets them on success must learn it here.
    if answer.no_retry or retry_at is not None:
        header = "x-inngest-no-retry: true" if answer.no_retry else "retry-after"
        text = (
            f"the function returned (HTTP {answer.status}), but the answer carries {header}, which "
            "makes it a failure; set this header on errors only"
        )
        reply = failed(text, retriable=not answer.no_retry, output=output)
        return Failed(reply.error, reply.output, reply.retriable, retry_at)
    return Finished(output)


def _json_or_text(answer: _Answer) -> JSON:
    if not answer.body.strip():
        return None
    try:
        return jsontext.read(answer.body)
    except ValueError:
        return answer.text


def _not_an_sdk(answer: _Answer) -> Failed:
    text = (
        f"HTTP {answer.status} came without the x-inngest-sdk header, so no Inngest SDK answered; "
        "check that the app's URL is the SDK's, and that no proxy removes headers"
    )
    error: dict[str, JSON] = {"error": text, "name": "Error", "message": answer.text}
    return Failed(error, answer.text)


# ── the rest: the function, or something before it, failed ───────────────────────────────────────


def _raised(answer: _Answer, now_ms: int) -> Failed:
    body = _json_or_text(answer)
    code = f"invalid status code: {answer.status}"
    error: dict[str, JSON] = {"error": "NonRetriableError" if answer.no_retry else code}
    error.update(_error_parts(body, code))
    return Failed(error, body, not answer.no_retry, retry_at_ms(answer.headers, now_ms))


def _error_parts(body: JSON, code: str) -> dict[str, JSON]:
    """name, message, stack and cause, from the body or from an `error` or `body` inside it."""
    source = body
    for nested in ("error", "body"):
        if isinstance(source, dict) and "message" not in source and source.get(nested):
            source = source[nested]
    if isinstance(source, str):
        return {"name": "Error", "message": source}
    if not isinstance(source, dict):
        return {"name": "Error", "message": code}
    parts: dict[str, JSON] = {
        "name": _text_or(source.get("name"), "Error"),
        "message": _text_or(source.get("message"), code),
    }
    if isinstance(source.get("stack"), str):
        parts["stack"] = source["stack"]
    if source.get("cause") is not None:
        parts["cause"] = source["cause"]
    return parts


def _upstream_failed(answer: _Answer) -> Failed:
    if "x-inngest-sdk-handled" in answer.headers and answer.status == 401:
        text = (
            "the app refused the call's signature (HTTP 401); start the engine with the app's "
            "signing key, or the app in development mode (INNGEST_DEV=1)"
        )
    else:
        text = f"HTTP {answer.status} came before the SDK answered; the stack holds the body"
    stack = answer.body[:_MAX_STACK].decode("utf-8", "replace")
    return failed(text, stack=stack)


# ── headers ──────────────────────────────────────────────────────────────────────────────────────


def request_version(headers: Mapping[str, str]) -> int:
    """The request version the SDK speaks; 0 when it does not say. Header names in lower case."""
    value = headers.get("x-inngest-req-version", "").strip()
    return int(value) if re.fullmatch(r"-?[0-9]{1,9}", value) else 0


def retry_at_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """When `retry-after` asks for the next attempt; None without one, or if it is unreadable.

    Counted from now truncated to the second, and kept within a second and a day from there.
    """
    value = headers.get("retry-after", "").strip()
    base = now_ms - now_ms % 1_000
    if not value:
        return None
    asked = base + int(value) * 1_000 if re.fullmatch(r"-?[0-9]{1,7}", value) else _date_ms(value)
    if asked is None:
        return None
    return min(max(asked, base + _MIN_RETRY_MS), base + _MAX_RETRY_MS)


def _date_ms(value: str) -> int | None:
    readers: tuple[Callable[[str], datetime], ...] = (_rfc3339, parsedate_to_datetime)
    for reader in readers:
        try:
            moment = reader(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=timezone.utc)
            return int(moment.timestamp() * 1_000)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _rfc3339(value: str) -> datetime:
    # Python 3.10 reads neither "Z" nor a fraction that has not three or six digits.
    whole = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?", value
    )
    if whole is None:
        raise ValueError(value)
    day, time, fraction, zone = whole.groups()
    offset = "+00:00" if zone in (None, "Z", "z") else zone
    return datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6]:0<6}{offset}")


# ── envelopes: compression and the 201 stream ────────────────────────────────────────────────────


class _TooLarge(Exception):
    """The body is over the limit."""


class _NotAnSdk(Exception):
    """A 201 that no SDK sent."""

    def __init__(self, answer: _Answer) -> None:
        self.answer = answer


def _decoded(body: bytes, encoding: str) -> bytes:
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        decoded = body
    elif coding == "gzip":
        decoded = _gunzipped(body)
    elif coding == "br":
        decoded = _unbrotlied(body)
    else:
        raise _Invalid(
            f"the answer's content-encoding is {encoding!r}; gzip or br, once, can be read"
        )
    if len(decoded) > MAX_ANSWER:
        raise _TooLarge(f"the answer is larger than {MAX_ANSWER} bytes")
    return decoded


def _gunzipped(body: bytes) -> bytes:
    try:
        # One byte more than allowed, and no more: a small answer may unpack to gigabytes.
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            return file.read(MAX_ANSWER + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _Invalid(f"the answer says gzip but cannot be unpacked: {error}") from None


def _unbrotlied(body: bytes) -> bytes:
    brotli = _brotli()
    if brotli is None:
        raise _Invalid(
            "the answer is compressed with br, which needs the brotli package: "
            "pip install brotli, or let the app answer gzip"
        )
    try:
        return cast(bytes, brotli.decompress(body))
    except brotli.error as error:
        raise _Invalid(f"the answer says br but cannot be unpacked: {error}") from None


def can_read_br() -> bool:
    """Whether answers compressed with br can be read: only if the brotli package is there."""
    return _brotli() is not None


@lru_cache(maxsize=1)
def _brotli() -> Any | None:
    try:
        return importlib.import_module("brotli")
    except ImportError:
        return None


def _unwrapped(answer: _Answer) -> _Answer:
    """The answer inside a 201 stream: whitespace, then one JSON document (wire.md A13)."""
    try:
        document = jsontext.read(answer.body)
    except ValueError as error:
        if not answer.is_from_sdk:
            raise _NotAnSdk(answer) from None
        raise _Invalid(
            f"the stream (201) did not end in one JSON document: {error}; "
            f"it ends {answer.text[-200:].strip()!r}"
        ) from None
    if not isinstance(document, dict):
        raise _Invalid(f"the stream (201) holds {_shown(document)} instead of an object")
    if document.get("error"):
        raise _Invalid(f"the stream (201) ended in an error: {_text_of(document['error'])}")
    status = document.get("status")
    if isinstance(status, bool) or not isinstance(status, int) or status in (0, 201):
        raise _Invalid(f"the stream (201) has the status {_shown(status)}")
    headers = {**answer.headers, **_inner_headers(document.get("headers"))}
    return _Answer(status, headers, _inner_body(document.get("body")))


def _inner_headers(headers: JSON) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        raise _Invalid(f"the stream (201) has the headers {_shown(headers)}; they are an object")
    return {
        name.lower(): value if isinstance(value, str) else json.dumps(value)
        for name, value in headers.items()
        if value is not None
    }


def _inner_body(body: JSON) -> bytes:
    return (body if isinstance(body, str) else json.dumps(body)).encode()


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def _text_or(value: JSON, default: str) -> str:
    if value is None or value == "":
        return default
    return _text_of(value)


def _text_of(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"
