"""What a GET tells of the app: to anyone a little, to who signs the request all (wire.md A4)."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from inngest_sdk import signing, wire
from inngest_sdk.client import Inngest
from inngest_sdk.config import Config, Key
from inngest_sdk.http import Request
from inngest_sdk.keys import keyring

SCHEMA_VERSION = "2024-05-24"


def inspect(
    client: Inngest, request: Request, *, framework: str, authenticated: bool | None
) -> dict[str, Any]:
    """Describe the app. `authenticated` says whether the request's signature was right; None, that
    there was nothing to check it with.

    `extra.request_url` is the URL that the app believes it was called at, without its query: what
    it would register, unless told otherwise.
    """
    config = client.config
    seen = urlsplit(request.url)
    description: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "authentication_succeeded": authenticated,
        "function_count": len(client.functions),
        "has_event_key": config.event_key is not None,
        "has_signing_key": config.signing_key is not None,
        "has_signing_key_fallback": config.signing_key_fallback is not None,
        "mode": "cloud" if config.is_production else "dev",
        "extra": {"request_url": urlunsplit((seen.scheme, seen.netloc, seen.path, "", ""))},
    }
    return description | _details(client, framework) if authenticated else description


def capabilities(config: Config) -> dict[str, str]:
    """Name the optional parts of the protocol that the app speaks."""
    in_band = {"in_band_sync": "v1"} if config.allow_in_band_sync else {}
    return {**in_band, "trust_probe": "v1"}


def _details(client: Inngest, framework: str) -> dict[str, Any]:
    config = client.config
    return {
        "api_origin": config.api_origin,
        "app_id": client.app_id,
        "capabilities": capabilities(config),
        "env": config.env,
        "event_api_origin": config.event_api_origin,
        "event_key_hash": _event_key_hash(config.event_key),
        "framework": framework,
        "sdk_language": "py",
        "sdk_version": wire.VERSION,
        "serve_origin": config.serve_origin,
        "serve_path": config.serve_path,
        "signing_key_fallback_hash": _signing_key_hash(config.signing_key_fallback),
        "signing_key_hash": _signing_key_hash(config.signing_key),
    }


# A key in a store that nobody has needed yet is not fetched to be described: it has no hash.


def _event_key_hash(key: Key | None) -> str | None:
    text = keyring.known(key)
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def _signing_key_hash(key: Key | None) -> str | None:
    # The whole hash would authenticate calls to the API; twelve digits, as the TypeScript SDK
    # shows, are enough to compare by.
    text = keyring.known(key)
    return None if text is None else signing.split(signing.hashed(text))[1][:12]
