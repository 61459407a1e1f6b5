"""A function app on this machine: Microsoft's Python runtime behind a stand-in for Azure's host.

What runs between the HTTP request and the user's function is what runs on Azure: the loader of
function_app.py, bindings and their checks, threads for sync functions, one loop for async ones, the
FastAPI extension. The host is imitated: routes, the 230 s of the load balancer, a new worker after
a crash. Not imitated: keys and other triggers, several workers, function timeouts.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from inngest_serverless.emulators.azure_process import (
    HttpFunction,
    WorkerFailed,
    WorkerGone,
    WorkerProcess,
)
from inngest_serverless.emulators.http_server import HttpRequest, HttpResponse, HttpServer

__all__ = [
    "LOCAL_SCRIPT",
    "FunctionAppConfig",
    "LocalFunctionApp",
    "WorkerFailed",
    "missing_runtime",
]

PINNED = "azure-functions-runtime==1.3.0"
LOCAL_SCRIPT = Path(__file__).with_name("azure_app") / "inngest_local_app.py"
"""A function app with nothing but the functions of the client that INNGEST_APP names."""
PLACEHOLDER = re.compile(r"\{(\*?)(\w+)[^}]*\}")
HOP_BY_HOP = ("connection", "content-length", "date", "server", "transfer-encoding")


def missing_runtime() -> str | None:
    """Say what has to be installed for a local function app to run, and how; None if nothing."""
    packages = {"azure.functions": "azure-functions", "azure_functions_runtime": PINNED}
    missing = [package for module, package in packages.items() if not _is_there(module)]
    if not missing:
        return None
    # The runtime says that it needs 3.13, the first Python that Azure runs with it, yet works
    # from 3.10 on.
    older = sys.version_info < (3, 13)
    flags = " --no-deps --ignore-requires-python" if older else ""
    return (
        "the local function app runs Microsoft's own Python runtime: "
        f"{' and '.join(missing)} must be installed, by: "
        f"pip install 'inngest-serverless[azure]' azurefunctions-extensions-base "
        f"&& pip install{flags} {PINNED}"
    )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it
        return False


@dataclass(frozen=True)
class FunctionAppConfig:
    """Settings of a local function app.

    `directory` (default: the working directory) is where the worker runs. `script` is the function
    app's file, function_app.py there by default; host.json is looked for beside it. Both folders
    are first on the worker's sys.path. `environment` is added to the caller's own. Times are in
    seconds: `init_timeout` for loading the app, `answer_timeout` for an answer (a function that
    takes longer works on).
    """

    directory: Path | None = None
    script: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    init_timeout: float = 60.0
    answer_timeout: float = 230.0

    @property
    def root(self) -> Path:
        return (self.directory or Path.cwd()).resolve()

    @property
    def script_file(self) -> Path:
        return (self.script or self.root / "function_app.py").resolve()

    @property
    def route_prefix(self) -> str:
        """What comes before each route: "api", unless host.json says otherwise."""
        try:
            settings = json.loads((self.script_file.parent / "host.json").read_text("utf-8-sig"))
        except FileNotFoundError:
            return "api"
        http = settings.get("extensions", {}).get("http", {})
        return str(http.get("routePrefix", "api")).strip("/")

    def worker_environment(self, hostname: str, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return all environment variables of a worker behind `hostname`.

        https://learn.microsoft.com/azure/azure-functions/functions-app-settings
        """
        told = {
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            "AzureWebJobsScriptRoot": str(self.script_file.parent),
            "FUNCTIONS_EXTENSION_VERSION": "~4",
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "WEBSITE_HOSTNAME": hostname,
            "WEBSITE_SITE_NAME": "local",
        }
        return {**inherited, **told, **self.environment}


class LocalFunctionApp:
    """A function app that answers at `url` for as long as the `async with` block runs.

        async with LocalFunctionApp(FunctionAppConfig(directory=folder)) as local:
            await httpx.AsyncClient().get(f"{local.url}/api/inngest")

    Its one worker starts with the block, starts anew when it has ended, and ends with the block,
    or with this process even if that is killed. `on_log` gets each line that it prints; by default
    it goes to stderr.
    """

    def __init__(
        self,
        config: FunctionAppConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self._host, self._port = host, port
        self._log = on_log or _log_to_stderr
        self._front = HttpServer(self._answer)
        self._worker = WorkerProcess(self._log)
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> LocalFunctionApp:
        """Open the front and load the app.

        Raises OSError when the port is taken, WorkerFailed when the app cannot be loaded.
        """
        if (missing := missing_runtime()) is not None:
            raise RuntimeError(missing)
        await self._front.open(self._host, self._port)
        try:
            await self._running()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Refuse new requests, drop those in progress, end the worker and wait for its end."""
        await self._front.close()
        await self._worker.stop()

    @property
    def url(self) -> str:
        """Origin of the function app, as in http://127.0.0.1:40123."""
        return f"http://{self._front.address}"

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._worker.pid

    async def _running(self) -> WorkerProcess:
        """The worker; a new one, if the last has ended."""
        async with self._starting:
            if not self._worker.alive:
                await self._worker.stop()
                self._worker = WorkerProcess(self._log)
                environment = self.config.worker_environment(self._front.address, os.environ)
                start = self._worker.start(self.config.root, self.config.script_file, environment)
                try:
                    await asyncio.wait_for(start, self.config.init_timeout)
                except asyncio.TimeoutError:
                    await self._worker.stop()
                    seconds = self.config.init_timeout
                    raise WorkerFailed(f"loading the app took longer than {seconds:g} s") from None
            return self._worker

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        """Answer as Azure does; what went wrong is told in the log only."""
        try:
            worker = await self._running()
            found = match(worker.functions, self.config.route_prefix, request)
            if found is None:
                return HttpResponse(404)
            call = _through_server if worker.http_uri else _through_protocol
            answering = call(worker, *found, request, self.url)
            return await asyncio.wait_for(answering, self.config.answer_timeout)
        except asyncio.TimeoutError:
            self._tell(f"no answer within {self.config.answer_timeout:g} s; the function works on")
            return HttpResponse(504)
        except WorkerFailed as failure:
            self._tell(str(failure))
            return HttpResponse(500)
        except WorkerGone as gone:
            self._tell(str(gone))
            return HttpResponse(502)

    def _tell(self, text: str) -> None:
        for line in text.splitlines():
            self._log(line)


Found = tuple[HttpFunction, Mapping[str, str]]


def match(functions: tuple[HttpFunction, ...], prefix: str, request: HttpRequest) -> Found | None:
    """Find the function that a request is for, and the values in its route."""
    path = request.target.partition("?")[0].strip("/")
    # The more a route says, the sooner it is looked at.
    for function in sorted(functions, key=lambda each: ("{*" in each.route, "{" in each.route)):
        route = "/".join(part for part in (prefix, function.route.strip("/")) if part)
        values = _pattern(route).fullmatch(path)
        if values and (not function.methods or request.method in function.methods):
            return function, {name: unquote(text) for name, text in values.groupdict().items()}
    return None


def _pattern(route: str) -> re.Pattern[str]:
    """A route as a pattern: {name} stands for one part of a path, {*name} for all that follow."""
    parts = PLACEHOLDER.split(route)  # text, star, name, text, star, name, ..., text
    pattern = re.escape(parts[0])
    for star, name, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.*' if star else '[^/]+'}){re.escape(text)}"
    return re.compile(pattern, re.IGNORECASE)


async def _through_protocol(
    worker: WorkerProcess,
    function: HttpFunction,
    values: Mapping[str, str],
    request: HttpRequest,
    origin: str,
) -> HttpResponse:
    told = await worker.invoke(str(uuid4()), _asked(function, values, request, origin))
    return HttpResponse(
        told["status"], _kept(told["headers"].items()), base64.b64decode(told["body"])
    )


async def _through_server(
    worker: WorkerProcess,
    function: HttpFunction,
    values: Mapping[str, str],
    request: HttpRequest,
    origin: str,
) -> HttpResponse:
    """Ask by both ways, as the host does if the worker has a server: the invocation goes by the
    protocol, the request itself to the server, from where the answer comes.

    A stream is passed on whole.
    """
    import httpx

    invocation_id = str(uuid4())
    headers = [*_kept(request.headers), ("x-ms-invocation-id", invocation_id)]
    invoking = asyncio.ensure_future(
        worker.invoke(invocation_id, _asked(function, values, request, origin))
    )
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
            answer = await client.request(
                request.method,
                f"{worker.http_uri}{request.target}",
                headers=headers,
                content=request.body,
            )
        await invoking
    except httpx.TransportError as error:
        raise WorkerGone(f"the worker's server broke off: {error!r}") from error
    finally:
        invoking.cancel()
    return HttpResponse(answer.status_code, _kept(answer.headers.items()), answer.content)


def _asked(
    function: HttpFunction, values: Mapping[str, str], request: HttpRequest, origin: str
) -> dict[str, Any]:
    folded: dict[str, str] = {}
    for name, value in request.headers:
        folded[name] = f"{folded[name]}, {value}" if name in folded else value
    http = {
        "method": request.method,
        "url": origin + request.target,
        "headers": folded,
        "params": dict(values),
        "query": dict(parse_qsl(request.target.partition("?")[2], keep_blank_values=True)),
    }
    return {
        "function": function.id,
        "parameter": function.parameter,
        "http": http,
        "body": base64.b64encode(request.body).decode(),
    }


def _kept(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that do not belong to one connection only."""
    return tuple((name, value) for name, value in headers if name.lower() not in HOP_BY_HOP)


def _log_to_stderr(line: str) -> None:
    print(f"[function app] {line}", file=sys.stderr, flush=True)
