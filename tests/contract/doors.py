"""The front doors, and how a test goes through one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from inngest_sdk import signing
from tests.contract.inngest_server import InngestServer
from tests.contract.lambda_events import SHAPES
from tests.contract.sites import (
    FORCE,
    Answer,
    EventSite,
    Functions,
    HttpSite,
    Site,
    cloud_function,
    function,
    function_app,
    http_site,
    uvicorn,
)

KEY = "signkey-test-" + "ab" * 32
EVENT_KEY = "event-key"
BRANCH = "feature-7"
RUN_ID = "01JCX4V1W7Q3N5S8"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class FrontDoor:
    """One way in. `variant` is what the platform has several of: an event shape, an entry point.

    A door that `streams` is one where every call does (Streaming.FORCE).
    """

    title: str
    platform: Literal["lambda", "gcp", "azure", "asgi"]
    variant: str = ""
    streams: bool = False

    @property
    def framework(self) -> str:
        """What the door calls itself to the server."""
        names = {"lambda": "aws-lambda", "gcp": "google-cloud-functions"}
        return {**names, "azure": "azure-functions", "asgi": "asgi"}[self.platform]


FRONT_DOORS = {
    "function_url": FrontDoor("Function URL", "lambda"),
    "function_url_streamed": FrontDoor("Function URL, streamed", "lambda", streams=True),
    "http_api": FrontDoor("HTTP API, payload 2.0", "lambda", "http_api"),
    "http_api_payload_1": FrontDoor("HTTP API, payload 1.0", "lambda", "http_api_payload_1"),
    "rest_api": FrontDoor("REST API", "lambda", "rest_api"),
    "alb": FrontDoor("ALB", "lambda", "alb"),
    "alb_multi_value": FrontDoor("ALB, multi-value", "lambda", "alb_multi_value"),
    "vpc_lattice": FrontDoor("VPC Lattice", "lambda", "vpc_lattice"),
    "direct": FrontDoor("Lambda invoked directly", "lambda", "direct"),
    "gcp": FrontDoor("Google Cloud", "gcp", "handler"),
    "gcp_async": FrontDoor("Google Cloud, ASGI", "gcp", "async_handler"),
    "gcp_streamed": FrontDoor("Google Cloud, streamed", "gcp", "handler", streams=True),
    "azure": FrontDoor("Azure", "azure", "azure_app.py"),
    "azure_streamed": FrontDoor("Azure, streamed", "azure", "azure_streaming_app.py", streams=True),
    "asgi": FrontDoor("ASGI", "asgi"),
    "asgi_streamed": FrontDoor("ASGI, streamed", "asgi", streams=True),
}


@dataclass(frozen=True)
class Reply:
    """What the app answered, unwrapped where it came as a stream (wire.md A13).

    `envelope` is the stream that it came in, None if it came in one piece.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    envelope: Answer | None = None

    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)

    @property
    def ops(self) -> list[dict[str, Any]]:
        """What a call of steps reports."""
        assert self.status == 206, self.body
        ops: list[dict[str, Any]] = self.json()
        return ops


@dataclass
class Door:
    """A front door with the app behind it, in dev mode or in cloud mode, where calls are signed.

    `server` is the Inngest server that the app knows.
    """

    front: FrontDoor
    server: InngestServer
    functions: Functions
    running: ExitStack = field(repr=False)
    is_cloud: bool = False

    @cached_property
    def cloud(self) -> Door:
        """The same in cloud mode."""
        return Door(self.front, self.server, self.functions, self.running, is_cloud=True)

    @cached_property
    def site(self) -> Site:
        """Where it is up, from the first request on."""
        front, environment = self.front, self._environment
        if front.variant in SHAPES:
            shared = self.functions.get(self.is_cloud, environment)
            return EventSite(SHAPES[front.variant], shared)
        if front.streams:
            environment |= FORCE
        return self.running.enter_context(http_site(self._origin(environment)))

    def _origin(self, environment: Mapping[str, str]) -> str:
        front, enter = self.front, self.running.enter_context
        match front.platform:
            case "lambda" if front.streams:
                return enter(function(environment)).local.url
            case "lambda":
                return self.functions.get(self.is_cloud, environment).local.url
            case "gcp":
                return enter(cloud_function(front.variant, environment))
            case "azure":
                return enter(function_app(front.variant, environment))
            case "asgi":
                return enter(uvicorn(environment))

    @property
    def _environment(self) -> dict[str, str]:
        if not self.is_cloud:
            return {"INNGEST_DEV": self.server.origin}
        keys = {"INNGEST_SIGNING_KEY": KEY, "INNGEST_EVENT_KEY": EVENT_KEY}
        return {"INNGEST_BASE_URL": self.server.origin, "INNGEST_ENV": BRANCH, **keys}

    @property
    def url(self) -> str:
        """The public URL, without a query."""
        return self.site.url

    def ask(
        self,
        method: str,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request as it is."""
        told = {**(JSON if body else {}), **(headers or {})}
        return unwrapped(self.site.ask(method, query, told, body))

    def ask_signed(
        self,
        method: str,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request with a signature, as the server does in cloud mode."""
        return self.ask(method, query, body, {**signature(body), **(headers or {})})

    def call(
        self, fn_id: str, value: object = None, /, *, step: str = "step", **more: Any
    ) -> Reply:
        """Call a function of app.py as the server does."""
        send = self.ask_signed if self.is_cloud else self.ask
        return send("POST", target(fn_id, step), call_body(value, **more))

    @contextmanager
    def begun(self, fn_id: str, value: object = None) -> Iterator[Iterator[bytes]]:
        """Call a function over HTTP; gives the bytes of the answer as they come."""
        site = self.site
        assert isinstance(site, HttpSite), "events have no bytes that come one after the other"
        with site.begun(target(fn_id), JSON, call_body(value)) as chunks:
            yield chunks


def unwrapped(answer: Answer) -> Reply:
    """The answer itself. A stream's document must be all that there is but blanks."""
    if answer.status != 201:
        return Reply(answer.status, answer.headers, answer.body)
    document = json.loads(answer.body)
    body = document["body"].encode()
    return Reply(document["status"], document["headers"], body, envelope=answer)


def target(fn_id: str, step: str = "step") -> str:
    """The query with which the server calls a function."""
    return f"fnId=contract-{fn_id}&stepId={step}"


def call_body(
    value: object = None, /, *, steps: Mapping[str, Any] | None = None, **ctx: Any
) -> bytes:
    """The body of a call; the event holds `value`, `ctx` is put on what the call says of itself."""
    event = {"id": "01JCX4V1W7", "name": "contract/any", "data": {"value": value}, "ts": 1763800000}
    steps = steps or {}
    stack = {"stack": list(steps), "current": len(steps)}
    call = {
        "event": event,
        "events": [event],
        "steps": steps,
        "ctx": {"run_id": RUN_ID, "attempt": 0, "stack": stack, **ctx},
    }
    return json.dumps(call, ensure_ascii=False).encode()


def signature(body: bytes, *, key: str = KEY, age: int = 0) -> dict[str, str]:
    """The header that signs a body; `age` is in seconds."""
    return {"x-inngest-signature": signing.sign(key, body, int(time.time()) - age)}


def verifies(reply: Reply) -> bool:
    """Whether the app has signed its answer."""
    header = reply.headers["x-inngest-signature"]
    return signing.verify(reply.body, header, [KEY], time.time()) == KEY


def hashed(step: str) -> str:
    """What the server knows a step by (wire.md A8)."""
    return hashlib.sha1(step.encode()).hexdigest()
