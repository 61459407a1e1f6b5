"""Calls of the server's REST API: JSON goes there, JSON comes back, troubles that pass are waited
out. Knows no route: what is asked, and what an answer means, `signals` and `realtime` say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inngest_sdk import wire
from inngest_sdk.api import fetch_with_keys, retried
from inngest_sdk.config import Config
from inngest_sdk.effects import Flow
from inngest_sdk.errors import ConfigError
from inngest_sdk.http import Request, Response

TRIES = 5


@dataclass(frozen=True)
class Answer:
    """What the server answered, after how many `tries`: where there was more than one, the server
    may have heard all of them."""

    response: Response
    tries: int

    @property
    def accepted(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.response.status < 300

    @property
    def body(self) -> Mapping[str, Any]:
        """The JSON object of the answer; empty where it is none."""
        try:
            value = self.response.json()
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def problem(self) -> str:
        """The answer for an error message: its status, the server's reason, and what to check."""
        status = self.response.status
        excerpt = json.dumps(self.response.body[:200].decode(errors="replace"))
        reason = self.body.get("error") or f"not what an Inngest server answers: {excerpt}"
        hint = {
            401: "; check INNGEST_SIGNING_KEY",
            403: "; check INNGEST_SIGNING_KEY",
            404: "; check INNGEST_API_BASE_URL",
        }.get(status, "")
        return f"the server answered {status}: {reason}{hint}"


def post(config: Config, path: str, body: bytes) -> Flow[Answer]:
    """Post JSON to the server's API, with the signing key, and again while it cannot be reached, is
    busy (429) or broken (5xx): five tries.

    Raises ConfigError in cloud mode without a signing key, and UnreachableError.
    """
    if config.is_production and not config.signing_keys:
        raise ConfigError(
            "no signing key: set INNGEST_SIGNING_KEY (or signing_key=) to call "
            f"{config.api_origin}, or INNGEST_DEV=1 to use a dev server"
        )
    request = Request("POST", f"{config.api_origin}{path}", _headers(config), body)
    tries = 0

    def attempt() -> Flow[Response]:
        nonlocal tries
        tries += 1
        return (yield from fetch_with_keys(request, config))

    response = yield from retried(attempt, TRIES)
    return Answer(response, tries)


def _headers(config: Config) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "user-agent": wire.SDK,
        "x-inngest-sdk": wire.SDK,
    }
    return headers if config.env is None else headers | {"x-inngest-env": config.env}
