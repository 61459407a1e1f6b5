"""Registering the app by invoking the function, at the end of a deployment.

    a script          {"inngest": {"action": "sync", "url": "https://..."}}
    CloudFormation    a custom resource, whose property Url may say where the app is

The app is registered as by a PUT at that URL. Where none is given, INNGEST_SERVE_ORIGIN (or
`serve_origin`) tells it. Who may invoke the function may have it registered; a PUT over HTTP asks
for no more.

CloudFormation waits for an answer at the URL that its event names, for an hour if need be. So it
gets one in every case: when the app cannot be loaded, when registering fails, and before Lambda
ends the call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from inngest_sdk import transport, wire
from inngest_sdk.client import Inngest
from inngest_sdk.drive import drive, within
from inngest_sdk.endpoint import Entrypoint, finish
from inngest_sdk.endpoint import serve as serve_request
from inngest_sdk.errors import (
    BodyInvalidError,
    Error,
    ProtocolError,
    StepTimeoutError,
    UnreachableError,
)
from inngest_sdk.http import Request, Response

RESERVED_SECONDS = 5.0
"""Of the time that Lambda leaves for a call, what is kept for the answer to CloudFormation."""
ATTEMPTS = 3
ATTEMPT_SECONDS = 10.0
# CloudFormation takes 4096 bytes in all.
REASON_CHARACTERS = 1500

LOG = logging.getLogger("inngest_serverless")


@dataclass(frozen=True)
class Sync:
    """A script's request to register the app, at `url` if it names one."""

    url: str | None


@dataclass(frozen=True)
class CustomResource:
    """CloudFormation's request to create, update or delete a custom resource.

    `identity` is what the answer repeats of it. Its physical id never changes, or CloudFormation
    would delete the "old" resource after an update.
    """

    kind: str
    url: str | None
    response_url: str
    identity: Mapping[str, str]


def order_from(event: Any) -> Sync | CustomResource | None:
    """Tell whether an event asks for a registration, and which way."""
    if not isinstance(event, dict):
        return None
    kind, response_url = event.get("RequestType"), event.get("ResponseURL")
    if isinstance(kind, str) and isinstance(response_url, str):
        properties = event.get("ResourceProperties")
        url = properties.get("Url") if isinstance(properties, dict) else None
        return CustomResource(kind, _text(url), response_url, _identity(event))
    ours = event.get("inngest")
    if isinstance(ours, dict) and ours.get("action") == "sync":
        return Sync(_text(ours.get("url")))
    return None


def register(client: Inngest, url: str | None, entrypoint: Entrypoint, now: float) -> Response:
    """Register the app at `url`, or where its settings say that it is; never raises.

    `now` is Unix seconds.
    """
    try:
        request, entrypoint = _placed(client, url, entrypoint)
    except ProtocolError as error:
        return finish(wire.refused(error), entrypoint)
    return drive(serve_request(client, request, entrypoint, now=now))


def carry_out(
    order: CustomResource, perform: Callable[[], Response], seconds: float | None
) -> dict[str, Any]:
    """Do what CloudFormation asks and tell it how that went; never raises.

    `perform` registers the app. It has `seconds` less RESERVED_SECONDS; None for no limit.
    """
    failure = None if order.kind == "Delete" else _failure(perform, seconds)
    body = _answer_to(order, failure)
    delivered = _delivered(order.response_url, body)
    return {"ok": failure is None and delivered, "status": body["Status"], "reason": body["Reason"]}


def _identity(event: Mapping[Any, Any]) -> dict[str, str]:
    names = ("StackId", "RequestId", "LogicalResourceId")
    identity = {name: _text(event.get(name)) or "" for name in names}
    known = _text(event.get("PhysicalResourceId"))
    return {**identity, "PhysicalResourceId": known or f"inngest-{identity['LogicalResourceId']}"}


def _placed(client: Inngest, url: str | None, entrypoint: Entrypoint) -> tuple[Request, Entrypoint]:
    """The request that registers the app at `url`, which beats every setting."""
    if url is None:
        if entrypoint.serve_origin is None and client.config.serve_origin is None:
            raise BodyInvalidError(
                "nothing says where the app is: name its URL (`url` of the event, `Url` of a "
                "custom resource), or set INNGEST_SERVE_ORIGIN"
            )
        return Request("PUT", "https://settings.invalid/"), entrypoint
    try:
        parts = urlsplit(url)
    except ValueError as error:  # a broken IPv6 address
        raise BodyInvalidError(f"url is {url!r}: {error}") from None
    entrypoint = replace(
        entrypoint,
        serve_origin=f"{parts.scheme}://{parts.netloc}",
        # The URL of a Function URL is an origin: the settings may add a path.
        serve_path=entrypoint.serve_path if parts.path in ("", "/") else parts.path,
    )
    return Request("PUT", url), entrypoint


def _failure(perform: Callable[[], Response], seconds: float | None) -> str | None:
    """Register the app; None if that went well, else why not."""
    limit = None if seconds is None else max(seconds - RESERVED_SECONDS, 1.0)
    try:
        response = perform() if limit is None else within(perform, False, limit)
    except StepTimeoutError:
        return f"registering took more than {limit:g} seconds; raise the function's timeout"
    except Error as error:
        return str(error)
    except Exception as error:
        LOG.exception("registering for CloudFormation failed; please report this as a bug")
        return f"registering failed with {type(error).__name__}; see the function's log"
    return None if response.status == 200 else _message(response)


def _message(response: Response) -> str:
    answer = response.json()
    said = answer.get("message") if isinstance(answer, dict) else None
    return said if isinstance(said, str) else f"registering was answered {response.status}"


def _answer_to(order: CustomResource, failure: str | None) -> dict[str, Any]:
    reason = failure or ("nothing to delete" if order.kind == "Delete" else "registered")
    return {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "Reason": reason.encode("ascii", "backslashreplace").decode()[:REASON_CHARACTERS],
        **order.identity,
    }


def _delivered(url: str, body: Mapping[str, Any]) -> bool:
    """Put the answer where CloudFormation waits for it; False, with a log entry, if that fails."""
    import json

    # The URL is signed for a request without content-type.
    request = Request("PUT", url, {}, json.dumps(body).encode())
    why = ""
    for _ in range(ATTEMPTS):
        try:
            with _unlogged():
                status = transport.send(request, ATTEMPT_SECONDS).status
        except UnreachableError as error:
            why = error.message
            continue
        if status < 300:
            return True
        why = f"it was answered {status}"
        if status < 500:
            break
    LOG.error(
        "CloudFormation could not be told that the custom resource is %s (%s), and will wait for "
        "an hour: %s. In a VPC, the function needs a way to S3.",
        *(body["Status"], body["Reason"], why),
    )
    return False


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep httpx from logging, at INFO, a URL whose query lets anybody answer CloudFormation."""

    def refuse(record: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger("httpx")
    logger.addFilter(refuse)
    try:
        yield
    finally:
        logger.removeFilter(refuse)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
