"""Telling the server which functions the app has, and where (wire.md A2, A3).

Out of band, a PUT only makes the app call the server's API with its own key: so anybody may send
it. In band, the PUT's own answer is the registration: so it must be signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from inngest_sdk import wire
from inngest_sdk.api import fetch_with_keys
from inngest_sdk.client import Inngest
from inngest_sdk.config import Config
from inngest_sdk.effects import Flow
from inngest_sdk.errors import (
    BodyInvalidError,
    RegistrationFailedError,
    SignatureInvalidError,
    SigningKeyMissingError,
    UnreachableError,
)
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.introspection import capabilities, inspect

SYNC_KIND = "x-inngest-sync-kind"
IN_BAND = "in_band"
OUT_OF_BAND = "out_of_band"

# What the server or a caller puts on the app's URL for one request only (wire.md T19).
PASSING_QUERY = ("deployId", "fnId", "probe", "stepId")


def register(
    client: Inngest,
    request: Request,
    url: str,
    *,
    framework: str,
    platform: str,
    verified: bool,
    serve_origin: str | None = None,
    serve_path: str | None = None,
) -> Flow[Response]:
    """Answer a PUT: register the app at `url`, in or out of band as the request says.

    `verified` says that the request's signature was right. `serve_origin` and `serve_path` are the
    front door's own; in band they are put on the URL that the signed body names.

    Raises RegistrationFailedError with the server's status and message, and in band
    SignatureInvalidError, SigningKeyMissingError and BodyInvalidError.
    """
    if request.headers.get(SYNC_KIND) == IN_BAND and client.config.allow_in_band_sync:
        _check_signed(client.config, verified)
        base = _url_in(request.body)
        url = sync_url(base, client.config, serve_origin, serve_path)
        return _register_in_band(client, request, url, framework, platform)
    return (yield from _register_out_of_band(client, request, url, framework, platform))


def sync_url(
    request_url: str, config: Config, serve_origin: str | None, serve_path: str | None
) -> str:
    """Return the URL that the server should call: the arguments beat the environment, which beats
    the request's own URL.

    The query is kept, for there may be a key of the platform in it (Azure's `code`), but for what
    belongs to one request only. Raises ConfigError for arguments that are no origin or path.
    """
    config = config.serving(serve_origin, serve_path)
    parts = urlsplit(request_url)
    scheme, host = parts.scheme, parts.netloc
    if config.serve_origin is not None:
        scheme, host, *_ = urlsplit(config.serve_origin)
    kept = [
        pair
        for pair in parts.query.split("&")
        if pair and unquote_plus(pair.partition("=")[0]) not in PASSING_QUERY
    ]
    return urlunsplit((scheme, host, config.serve_path or parts.path, "&".join(kept), ""))


def _register_out_of_band(
    client: Inngest, request: Request, url: str, framework: str, platform: str
) -> Flow[Response]:
    config = client.config
    if config.is_production and not config.signing_keys:
        raise _no_key()
    outbound = Request(
        "POST",
        _register_url(config, request.query.get("deployId")),
        _register_headers(config, request, framework, platform),
        dumps(_registration(client, url, framework, platform)),
    )
    try:
        response = yield from fetch_with_keys(outbound, config)
    except UnreachableError as error:
        raise RegistrationFailedError(
            f"could not register with {config.api_origin}: {error}; {_how_to_reach(config)}",
            status=502,
        ) from error
    answer = _answer(response)
    if not 200 <= response.status < 300:
        raise _refused(config, response, answer)
    modified = bool(answer.get("modified"))
    count = len(client.functions)
    message = f"registered {count} function{'' if count == 1 else 's'} of app {client.app_id!r}"
    return Response(
        200,
        {"content-type": "application/json", SYNC_KIND: OUT_OF_BAND},
        dumps({"message": message, "modified": modified}),
    )


def _register_url(config: Config, deploy_id: str | None) -> str:
    query = f"?deployId={quote(deploy_id, safe='')}" if deploy_id else ""
    return f"{config.api_origin}/fn/register{query}"


def _register_headers(
    config: Config, request: Request, framework: str, platform: str
) -> dict[str, str]:
    headers = wire.sdk_headers(framework, platform) | {"user-agent": wire.SDK}
    if config.env is not None:
        headers["x-inngest-env"] = config.env
    # The server refuses when it is not of the kind that sent us here (wire.md A1).
    kind = request.headers.get("x-inngest-server-kind")
    if kind:
        headers["x-inngest-expected-server-kind"] = kind
    return headers


def _registration(client: Inngest, url: str, framework: str, platform: str) -> dict[str, Any]:
    headers = {"env": client.env, "platform": platform}
    registration = {
        "url": url,
        "deployType": "ping",
        "sdk": wire.SDK,
        "v": "0.1",
        "framework": framework,
        "appName": client.app_id,
        "appVersion": client.app_version,
        "capabilities": capabilities(client.config),
        "headers": {name: value for name, value in headers.items() if value},
        "functions": _functions(client, url),
    }
    return {key: value for key, value in registration.items() if value is not None}


def _functions(client: Inngest, url: str) -> list[dict[str, Any]]:
    return [entry for function in client.functions.values() for entry in function.configs(url)]


def _answer(response: Response) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _refused(
    config: Config, response: Response, answer: Mapping[str, Any]
) -> RegistrationFailedError:
    said = answer.get("message") or answer.get("error")
    if not isinstance(said, str):
        said = response.body[:200].decode(errors="replace") or "nothing more"
    hint = "; check INNGEST_SIGNING_KEY" if response.status in (401, 403) else ""
    return RegistrationFailedError(
        f"{config.api_origin} answered {response.status} to the registration: {said}{hint}",
        # A redirect or the like is no status to pass on.
        status=response.status if response.status >= 400 else 502,
    )


def _how_to_reach(config: Config) -> str:
    if config.is_production:
        return "is it up, and are INNGEST_API_BASE_URL or INNGEST_BASE_URL right?"
    return "is the dev server up? INNGEST_DEV takes its URL if it is elsewhere"


def _register_in_band(
    client: Inngest, request: Request, url: str, framework: str, platform: str
) -> Response:
    config = client.config
    answer = {
        "app_id": client.app_id,
        "appVersion": client.app_version,
        "capabilities": capabilities(config),
        "env": config.env,
        "framework": framework,
        "functions": _functions(client, url),
        "inspection": inspect(client, request, framework=framework, authenticated=True),
        "platform": platform,
        "sdk": wire.SDK,
        "sdk_author": "inngest-serverless",
        "sdk_language": "py",
        "sdk_version": wire.VERSION,
        "url": url,
    }
    body = dumps({key: value for key, value in answer.items() if value is not None or key == "env"})
    headers = {"content-type": "application/json", SYNC_KIND: IN_BAND}
    return Response(200, headers, body)


def _check_signed(config: Config, verified: bool) -> None:
    if config.signing_keys and not verified:
        raise SignatureInvalidError("an in-band registration must be signed")
    if config.is_production and not config.signing_keys:
        raise _no_key()


def _url_in(body: bytes) -> str:
    url = wire.parse_json_object(body, "an in-band registration").get("url")
    try:
        if isinstance(url, str) and urlsplit(url).scheme in ("http", "https"):
            return url
    except ValueError:  # a broken IPv6 address
        pass
    raise BodyInvalidError(f"url is {url!r}; an in-band registration names the app's URL")


def _no_key() -> SigningKeyMissingError:
    return SigningKeyMissingError(
        "no signing key: set INNGEST_SIGNING_KEY (or signing_key=) to register with Inngest, "
        "or INNGEST_DEV=1 to use a dev server"
    )
