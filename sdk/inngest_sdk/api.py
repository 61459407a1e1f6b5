"""Calls to the Inngest server: who we are, and how often we try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from inngest_sdk import signing
from inngest_sdk.config import Config
from inngest_sdk.effects import Flow, fetch, pause, revealed
from inngest_sdk.errors import UnreachableError
from inngest_sdk.http import Request, Response

FIRST_PAUSE_SECONDS = 0.1


def fetch_with_keys(
    request: Request, config: Config, timeout: float | None = None
) -> Flow[Response]:
    """Call the server's API with the signing key, and where that is refused (401, 403) once more
    with the fallback: while keys are rotated the server may know only the other one. Keys that
    lie in a store may have been replaced there: then with these, too.

    Raises SecretUnavailableError.
    """
    timeout = config.request_timeout if timeout is None else timeout
    keys = yield from revealed(config.signing_keys)
    response = yield from _fetch_with(request, keys, timeout)
    if is_refused(response):
        newer = yield from revealed(config.signing_keys, again=True)
        if newer != keys:
            return (yield from _fetch_with(request, newer, timeout))
    return response


def is_refused(response: Response) -> bool:
    """Whether the server does not know the key."""
    return response.status in (401, 403)


def _fetch_with(request: Request, keys: Sequence[str], timeout: float) -> Flow[Response]:
    key, *fallbacks = keys or (None,)
    response = yield from fetch(_authorized(request, key), timeout)
    for fallback in fallbacks:
        if is_refused(response):
            response = yield from fetch(_authorized(request, fallback), timeout)
    return response


def retried(attempt: Callable[[], Flow[Response]], tries: int) -> Flow[Response]:
    """Make an exchange again while the server cannot be reached, is busy (429) or broken (5xx).

    The pauses are 100 ms, 200 ms, 400 ms... The last try's answer, or its UnreachableError, counts.
    """
    for number in range(tries - 1):
        try:
            response = yield from attempt()
            if response.status != 429 and response.status < 500:
                return response
        except UnreachableError:
            pass
        yield from pause(FIRST_PAUSE_SECONDS * 2**number)
    return (yield from attempt())


def _authorized(request: Request, key: str | None) -> Request:
    if key is None:
        return request
    headers = {**request.headers, "authorization": f"Bearer {signing.hashed(key)}"}
    return replace(request, headers=headers)
