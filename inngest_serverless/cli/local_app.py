"""A user's app, running on this machine as it would on its platform. Knows nothing of terminals."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from inngest_serverless.cli.app_check import COMPLAINED
from inngest_serverless.cli.problems import Problem, WrongUse
from inngest_serverless.emulators.local_cloud_function import (
    CloudFunctionConfig,
    FunctionNotStarted,
    LocalCloudFunction,
    missing_parts,
)
from inngest_serverless.emulators.local_function_app import (
    LOCAL_SCRIPT,
    FunctionAppConfig,
    LocalFunctionApp,
    WorkerFailed,
    missing_runtime,
)
from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda
from inngest_serverless.engine.server import DevOptions, DevServer

PATH = "/api/inngest"
# Set for a deployment, these would send the app elsewhere, or have it fetch keys that nobody needs
# here. Empty counts as not set.
NOT_HERE = (
    "INNGEST_SIGNING_KEY",
    "INNGEST_SIGNING_KEY_FALLBACK",
    "INNGEST_EVENT_KEY",
    "INNGEST_BASE_URL",
    "INNGEST_API_BASE_URL",
    "INNGEST_EVENT_API_BASE_URL",
    "INNGEST_SERVE_ORIGIN",
    "INNGEST_SERVE_PATH",
)
LOAD_SECONDS = 60.0
CALL_SECONDS = 60.0
PROXY_FREE = ("NO_PROXY", "no_proxy")
Log: TypeAlias = Callable[[str], None]
OnSync: TypeAlias = Callable[[str, str | None], None]


def environment(app: str, engine_url: str) -> dict[str, str]:
    """Return the variables that tie an app to an engine on this machine."""
    here = {"INNGEST_APP": app, "INNGEST_DEV": engine_url, "INNGEST_ALLOW_DEV": "1"}
    return {**dict.fromkeys(NOT_HERE, ""), **here}


def proxy_free(engine_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep calls to the engine, and no others, from any proxy."""
    named = [environ[name] for name in PROXY_FREE if environ.get(name)]
    if "*" in named:  # everything already, and only if it stands alone
        return dict.fromkeys(PROXY_FREE, "*")
    hosts = ["localhost", "127.0.0.1", "::1", urlsplit(engine_url).hostname or ""]
    return dict.fromkeys(PROXY_FREE, ",".join(dict.fromkeys([*named, *filter(None, hosts)])))


def check_app(platform: str, app: str, directory: Path, *, seconds: float = LOAD_SECONDS) -> None:
    """Load the app in another process; raise a Problem with the reason if it cannot run."""
    if platform == "aws" and find_spec("awslambdaric") is None:
        raise Problem(
            "the local Lambda runs AWS's runtime client, awslambdaric, which is not installed",
            "It does not exist for Windows: there, use --platform asgi",
        )
    if platform == "gcp" and (missing := missing_parts()):
        raise Problem(missing, "Or choose another: --platform asgi")
    if platform == "azure" and (missing := missing_runtime()):
        raise Problem(missing, "Or choose another: --platform asgi")
    complaint = f"--app {app} cannot be loaded from {directory}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inngest_serverless.cli.app_check"],
            cwd=directory,
            env={**os.environ, **environment(app, "1")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise WrongUse(
            f"{complaint}: its import has not ended within {seconds:g} s",
            "Importing the module must not wait for anything: move that into a function.",
        ) from None
    if done.returncode != 0:
        raise WrongUse("\n".join([complaint, *_last_words(done)]))


def _last_words(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the check printed, and how it ended if it did not end by itself."""
    said = done.stderr.strip()
    if done.returncode == COMPLAINED and said:
        return [said]
    code = done.returncode
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    return [*filter(None, [said]), f"its import ended the process with {how}"]


@dataclass(frozen=True)
class Wanted:
    """An app to run, loaded from `directory`: on "aws" (the local Lambda), "gcp"
    (functions-framework), "azure" (Microsoft's runtime) or "asgi" (uvicorn)."""

    platform: str
    app: str
    directory: Path
    timeout: float = CALL_SECONDS
    """How many seconds a call to the local Lambda may take."""


@asynccontextmanager
async def engine_and_app(
    options: DevOptions, wanted: Wanted | None, on_log: Log, on_sync: OnSync | None = None
) -> AsyncIterator[tuple[DevServer, str | None]]:
    """Run an engine, and an app beside it, for as long as the block; gives the app's URL too.

    The app's port is the engine's plus one. So a run that an earlier engine on the same file left
    behind finds its app at the same URL, and the app is there before the engine calls it. If the
    port is taken, or the engine's own is any free one, so is the app's.
    """
    server = DevServer(options, on_sync=on_sync)
    if wanted is None:
        async with server:
            yield server, None
    elif options.port == 0:
        async with server, serve_app(wanted, server.url, on_log) as url:
            yield server, url
    else:
        engine_url = f"http://{reachable(options.host)}:{options.port}"
        app = serve_app(wanted, engine_url, on_log, free_port(options.port + 1))
        async with app as url, server:
            yield server, url


def reachable(host: str) -> str:
    """Return the address at which this machine reaches what listens on `host`."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{shown}]" if ":" in shown else shown


def free_port(port: int) -> int:
    """Return `port` if nobody listens there, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return 0
    return port


@asynccontextmanager
async def serve_app(
    wanted: Wanted, engine_url: str, on_log: Log, port: int = 0
) -> AsyncIterator[str]:
    """Run the app for as long as the block; gives the URL under which the engine reaches it."""
    runs = {
        "aws": _on_lambda,
        "gcp": _on_functions_framework,
        "azure": _on_azure_runtime,
        "asgi": _on_uvicorn,
    }
    run = runs[wanted.platform]
    async with run(wanted, environment(wanted.app, engine_url), on_log, port) as origin:
        yield origin + PATH


@asynccontextmanager
async def _on_lambda(
    wanted: Wanted, variables: dict[str, str], on_log: Log, port: int
) -> AsyncIterator[str]:
    config = LambdaConfig(
        environment=variables,
        timeout=wanted.timeout,
        directory=wanted.directory,
        function_name=wanted.app.partition(":")[0].replace(".", "-"),
    )
    async with LocalLambda(config, port=port, on_log=on_log) as function:
        yield function.url


@asynccontextmanager
async def _on_functions_framework(
    wanted: Wanted, variables: dict[str, str], on_log: Log, port: int
) -> AsyncIterator[str]:
    config = CloudFunctionConfig(
        environment={**variables, **proxy_free(variables["INNGEST_DEV"], os.environ)},
        directory=wanted.directory,
        service=wanted.app.partition(":")[0].replace(".", "-"),
    )
    try:
        async with LocalCloudFunction(config, port=port, on_log=on_log) as function:
            yield function.url
    except FunctionNotStarted as error:
        raise Problem(f"functions-framework did not start\n{error}") from None


@asynccontextmanager
async def _on_azure_runtime(
    wanted: Wanted, variables: dict[str, str], on_log: Log, port: int
) -> AsyncIterator[str]:
    config = FunctionAppConfig(
        directory=wanted.directory,
        script=LOCAL_SCRIPT,
        environment={**variables, **proxy_free(variables["INNGEST_DEV"], os.environ)},
    )
    try:
        async with LocalFunctionApp(config, port=port, on_log=on_log) as local:
            yield local.url
    except WorkerFailed as error:
        raise Problem(f"Microsoft's runtime did not start\n{error}") from None


@asynccontextmanager
async def _on_uvicorn(
    wanted: Wanted, variables: dict[str, str], on_log: Log, port: int
) -> AsyncIterator[str]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "inngest_serverless.cli.asgi_child", str(port)),
        cwd=wanted.directory,
        env={**os.environ, **variables, **proxy_free(variables["INNGEST_DEV"], os.environ)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
        start_new_session=True,  # Ctrl-C in the terminal is for us, who then stop it in order
    )
    assert child.stdin is not None and child.stdout is not None
    forwarding: asyncio.Task[None] | None = None
    try:
        first = (await child.stdout.readline()).decode(errors="replace").strip()
        if not first.isdecimal():
            rest = (await child.stdout.read()).decode(errors="replace").strip()
            raise Problem(f"uvicorn did not start\n{first}\n{rest}")
        forwarding = asyncio.create_task(_forward(child.stdout, on_log))
        yield f"http://127.0.0.1:{first}"
    finally:
        child.stdin.close()  # it ends with that
        await child.wait()
        if forwarding is not None:
            await forwarding


async def _forward(lines: asyncio.StreamReader, log: Log) -> None:
    async for line in lines:
        log(line.decode(errors="replace").rstrip())
