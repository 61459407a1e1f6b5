"""Where the app is up: each front door on its own runtime, in other processes of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from inngest_serverless.emulators.local_cloud_function import (
    CloudFunctionConfig,
    LocalCloudFunction,
)
from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda
from tests.azure import running as azure
from tests.contract.lambda_events import Asking, Shape, read

HERE = Path(__file__).parent
PATH = "/api/inngest"
PATIENCE = 60.0  # seconds
FORCE = {"INNGEST_STREAMING": "force"}


@dataclass(frozen=True)
class Answer:
    """What came back: headers have lower-case names, `status` is the one on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Site(Protocol):
    """The app behind one front door; `url` is the one that the door's clients call."""

    @property
    def url(self) -> str:
        """The public URL, without a query."""
        ...

    def ask(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request through the door."""
        ...


@dataclass(frozen=True)
class HttpSite:
    """A door that is a server on this machine."""

    url: str
    web: httpx.Client

    def ask(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request over HTTP."""
        found = self.web.request(method, self._target(query), headers=headers, content=body)
        return Answer(found.status_code, dict(found.headers), found.content)

    @contextmanager
    def begun(
        self, query: str, headers: Mapping[str, str], body: bytes
    ) -> Iterator[Iterator[bytes]]:
        """Send a POST; gives the bytes of the answer as they come."""
        url = self._target(query)
        with self.web.stream("POST", url, headers=headers, content=body) as response:
            yield response.iter_raw()

    def _target(self, query: str) -> str:
        return f"{self.url}?{query}" if query else self.url


@dataclass(frozen=True)
class Function:
    """A Lambda function that runs in AWS's own runtime client."""

    local: LocalLambda
    portal: BlockingPortal


@dataclass(frozen=True)
class EventSite:
    """A door that makes events, which go to the function by the Runtime API."""

    shape: Shape
    function: Function

    @property
    def url(self) -> str:
        """The URL that the service has."""
        return self.shape.origin + self.shape.path

    def ask(self, method: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Invoke the function as the service does."""
        target = f"{self.shape.path}?{query}" if query else self.shape.path
        origin = urlsplit(self.shape.origin)
        told = {"host": origin.netloc, "x-forwarded-proto": origin.scheme, **headers}
        event = self.shape.event(Asking(method, target, told, body))
        result = self.function.portal.call(self.function.local.invoke, event)
        return Answer(*read(self.shape, result))


@contextmanager
def function(environment: Mapping[str, str]) -> Iterator[Function]:
    """The app as a Lambda function, with a Function URL."""
    config = LambdaConfig(
        environment={"INNGEST_APP": "app:client", **environment},
        directory=HERE,
        max_concurrency=1,
        init_timeout=PATIENCE,
    )
    with start_blocking_portal() as portal:
        local = LocalLambda(config, on_log=lambda line: None)
        with portal.wrap_async_context_manager(local):
            yield Function(local, portal)


@contextmanager
def cloud_function(target: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The app in functions-framework; gives its URL."""
    variables = {"INNGEST_APP": "app:client", **environment}
    config = CloudFunctionConfig(target=target, environment=variables, directory=HERE)
    with start_blocking_portal() as portal:
        local = LocalCloudFunction(config, on_log=lambda line: None)
        with portal.wrap_async_context_manager(local):
            yield local.url


@contextmanager
def function_app(script: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The app in Microsoft's runtime; gives its URL."""
    variables = {"INNGEST_APP": "app:client", **environment}
    with azure.running(HERE / script, environ=variables, directory=HERE) as running:
        yield running.url


@contextmanager
def uvicorn(environment: Mapping[str, str]) -> Iterator[str]:
    """The app under uvicorn; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        handle = listening.fileno()
        options = ("--fd", str(handle), "--log-level", "warning", "--no-access-log")
        command = (sys.executable, "-m", "uvicorn", "inngest_serverless.asgi:app", *options)
        variables = {**os.environ, "INNGEST_APP": "app:client", **environment}
        process = subprocess.Popen(command, cwd=HERE, env=variables, pass_fds=(handle,))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def http_site(origin: str) -> Iterator[HttpSite]:
    """A client for a server's URL, past any proxy."""
    with httpx.Client(trust_env=False, timeout=PATIENCE) as web:
        yield HttpSite(origin + PATH, web)


class Functions:
    """Lambda functions that many doors share, each started when it is first asked for."""

    def __init__(self, running: ExitStack) -> None:
        self._running = running
        self._found: dict[bool, Function] = {}

    def get(self, cloud: bool, environment: Mapping[str, str]) -> Function:
        """The one in cloud mode, or the one in dev mode."""
        if cloud not in self._found:
            self._found[cloud] = self._running.enter_context(function(environment))
        return self._found[cloud]
