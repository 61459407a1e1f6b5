"""Links with which people decide: what they hold, and how they are told from forged ones.

A link is the app's own URL with a token: base64url(JSON) + "." + base64url(HMAC-SHA256). The key of
the HMAC is derived from the signing key for this use and this app, so that no signature of a call
or an answer can stand for a token, and no token for a signature. An app in dev mode without a
signing key uses a key that everybody can compute: its links are for trying out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from inngest_sdk import signing
from inngest_sdk.client import Inngest
from inngest_sdk.effects import Flow
from inngest_sdk.errors import (
    ApprovalExpiredError,
    ApprovalLinkInvalidError,
    ConfigError,
    FunctionConfigInvalidError,
)
from inngest_sdk.http import Request, dumps

PARAMETER = "approval"  # of the query, and nothing else is looked at where it stands
CHOICE = "choice"

# Bytes of UTF-8. A link then has at most about 1,200 characters: mail programs and browsers take
# 2,000.
MAX_TITLE = 120
MAX_TEXT = 500
MAX_TOKEN = 2_000  # characters

_VERSION = 1
_MAC_CHARACTERS = 43  # of 32 bytes in base64url, unpadded
_PURPOSE = b"inngest-serverless approval link\n"
_DEV_KEY = "no signing key in dev mode"


@dataclass(frozen=True)
class Ticket:
    """What a link says. `expires` is in Unix seconds."""

    id: str
    expires: int
    title: str
    text: str


@dataclass(frozen=True)
class Links:
    """What a call knows for making links: the app's public URL, and what may have to be awaited,
    the time in Unix seconds and the signing keys."""

    app_url: Callable[[], str]
    seconds: Callable[[], Any]
    signing_keys: Callable[[], Any]


def is_followed(request: Request) -> bool:
    """Whether a request comes from such a link."""
    return PARAMETER in request.query


def check_shown(option: str, value: str, most: int) -> None:
    """Raise FunctionConfigInvalidError for what is too long to travel in a link."""
    size = len(value.encode("utf-8", "replace"))
    if size > most:
        raise FunctionConfigInvalidError(
            f"{option} has {size} bytes of UTF-8; it travels in the link, which takes {most}: say "
            "the rest in the message that brings the link"
        )


def link(client: Inngest, signing_keys: Sequence[str], app_url: str, ticket: Ticket) -> str:
    """The URL for this ticket. Raises ConfigError in cloud mode without a signing key."""
    payload = _encoded(dumps([_VERSION, ticket.id, ticket.expires, ticket.title, ticket.text]))
    keys = _keys(client, signing_keys)
    if not keys:
        raise ConfigError(
            "no signing key: set INNGEST_SIGNING_KEY (or signing_key=), which the links of "
            "approvals are signed with, or INNGEST_DEV=1 to try them out"
        )
    token = f"{payload}.{_mac(keys[0], payload)}"
    return f"{app_url}{'&' if '?' in app_url else '?'}{PARAMETER}={token}"


def with_choice(url: str, choice: str) -> str:
    """The link to the page that offers one decision first. The ticket is the same."""
    return f"{url}&{CHOICE}={choice}"


def ticket_of(client: Inngest, request: Request, now: float) -> Flow[Ticket]:
    """The ticket of a request. Raises ApprovalLinkInvalidError, ApprovalExpiredError, and
    SecretUnavailableError."""
    token = request.query.get(PARAMETER, "")
    payload, _, mac = token.partition(".")
    if len(token) > MAX_TOKEN or len(mac) != _MAC_CHARACTERS:
        raise _invalid()

    def check(signing_keys: Sequence[str]) -> None:
        if not any(
            hmac.compare_digest(_mac(key, payload).encode(), mac.encode("utf-8", "replace"))
            for key in _keys(client, signing_keys)
        ):
            raise _invalid()

    yield from signing.vouched(client.config.signing_keys, check)
    ticket = _parsed(payload)
    if now >= ticket.expires:
        raise ApprovalExpiredError("This link has expired.")
    return ticket


def _invalid() -> ApprovalLinkInvalidError:
    return ApprovalLinkInvalidError("This link is not valid.")


def _parsed(payload: str) -> Ticket:
    try:
        version, *fields = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if version == _VERSION:
            return Ticket(*fields)
    except (binascii.Error, TypeError, ValueError):
        pass  # signed by another version of this package
    raise _invalid()


def _keys(client: Inngest, signing_keys: Sequence[str]) -> list[bytes]:
    """The keys that a token may be signed with; the first is the one to sign with."""
    keys = [signing.split(key)[1] for key in signing_keys]
    if not keys and not client.config.is_production:
        keys = [_DEV_KEY]
    purpose = _PURPOSE + client.app_id.encode()
    return [hmac.digest(key.encode(), purpose, hashlib.sha256) for key in keys]


def _mac(key: bytes, payload: str) -> str:
    return _encoded(hmac.digest(key, payload.encode("utf-8", "replace"), hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
