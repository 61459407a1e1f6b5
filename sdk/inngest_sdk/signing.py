"""Signatures over requests and answers, and the form a key takes as a Bearer token (wire.md A11).

A signature is hex(HMAC-SHA256(key, body + ascii(unix seconds))), in a header `t=<seconds>&s=<hex>`.
The key is what follows the `signkey-<env>-` prefix, its hex digits kept as text. The server signs
the bytes it sends, so we verify over the bytes that came, and never parse before we trust.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from inngest_sdk.config import Key
from inngest_sdk.effects import Flow, revealed
from inngest_sdk.errors import ApprovalLinkInvalidError, SignatureInvalidError

T = TypeVar("T")

HEADER = "x-inngest-signature"

# Both ways: a clock that runs ahead is as likely as a request that was kept back and replayed.
TOLERANCE_SECONDS = 300

_PREFIX = re.compile(r"signkey-\w+-")
_FORM = re.compile(r"t=([0-9]{1,15})&s=([0-9a-fA-F]{64})")


def sign(key: str, body: bytes, now: int) -> str:
    """Make the header's value for this body; `now` is Unix seconds."""
    return f"t={now}&s={_digest(key, body, str(now))}"


def verify(body: bytes, header: str | None, keys: Sequence[str], now: float) -> str:
    """Return the key, of those given, that signed this body within five minutes of `now`.

    Raises SignatureInvalidError for a header that is missing, malformed, too old, too new, or made
    with none of the keys. The reason is for logs; the caller of the app should not learn it.
    """
    signed_at, given = parts(header, now)
    matching = None
    for key in keys:
        if hmac.compare_digest(_digest(key, body, signed_at), given.lower()) and matching is None:
            matching = key
    if matching is None:
        raise SignatureInvalidError("the signature was made with another key, or for another body")
    return matching


def parts(header: str | None, now: float) -> tuple[str, str]:
    """Split a header into when it was made and its hex digits; see `verify`. No key is needed to
    refuse one that is malformed or not of these minutes."""
    if header is None:
        raise SignatureInvalidError(f"the request has no {HEADER} header")
    form = _FORM.fullmatch(header)
    if form is None:
        raise SignatureInvalidError(f"the {HEADER} header is not of the form t=<seconds>&s=<hex>")
    signed_at, given = form.groups()
    age = now - int(signed_at)
    if abs(age) > TOLERANCE_SECONDS:
        raise SignatureInvalidError(
            f"the signature is {age:.0f} s old; at most {TOLERANCE_SECONDS} s either way is "
            "accepted: are the clocks right?"
        )
    return signed_at, given


def vouched(keys: Sequence[Key], check: Callable[[Sequence[str]], T]) -> Flow[T]:
    """Check a signature with these keys, and where it fails once more if the store that they lie
    in has others by now: keys are replaced without a deployment."""
    texts = yield from revealed(keys)
    try:
        return check(texts)
    except (SignatureInvalidError, ApprovalLinkInvalidError):
        newer = yield from revealed(keys, again=True)
        if newer == texts:
            raise
    return check(newer)


def hashed(key: str) -> str:
    """Return the form that authenticates calls to the API: its prefix + sha256 of the key.

    Here, unlike in a signature, the hex of the key is decoded first.
    """
    prefix, digits = split(key)
    return prefix + hashlib.sha256(bytes.fromhex(digits)).hexdigest()


def split(key: str) -> tuple[str, str]:
    """Split "signkey-prod-abcd" into "signkey-prod-" and "abcd"; a bare key has no prefix."""
    prefix = _PREFIX.match(key)
    return (prefix.group(), key[prefix.end() :]) if prefix else ("", key)


def _digest(key: str, body: bytes, signed_at: str) -> str:
    mac = hmac.new(split(key)[1].encode(), body, hashlib.sha256)
    mac.update(signed_at.encode())
    return mac.hexdigest()
