"""The stand-in for Azure's host: what it needs, and what it routes where."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from inngest_serverless.cli.local_app import check_app
from inngest_serverless.cli.problems import Problem
from inngest_serverless.emulators.azure_process import HttpFunction
from inngest_serverless.emulators.http_server import HttpRequest
from inngest_serverless.emulators.local_function_app import (
    LOCAL_SCRIPT,
    FunctionAppConfig,
    LocalFunctionApp,
    WorkerFailed,
    match,
    missing_runtime,
)

from .running import APPS

ROUTES = ("inngest", "{tenant}/inngest", "files/{*path}", "{*all}", "orders/{id:int}", "a.b")


def function(route: str) -> HttpFunction:
    return HttpFunction(route, route, route, frozenset({"GET"}), "req")


FUNCTIONS = tuple(function(route) for route in ROUTES)


@pytest.mark.parametrize(
    ("target", "route", "values"),
    [
        ("/api/inngest?fnId=x", "inngest", {}),
        ("/api/inngest/", "inngest", {}),
        ("/API/Inngest", "inngest", {}),
        ("/api/north/inngest", "{tenant}/inngest", {"tenant": "north"}),
        ("/api/n%20%C3%BC/inngest", "{tenant}/inngest", {"tenant": "n ü"}),
        ("/api/files/a/b", "files/{*path}", {"path": "a/b"}),
        ("/api/orders/7", "orders/{id:int}", {"id": "7"}),
        ("/api/a.b", "a.b", {}),
        ("/api/aXb", "{*all}", {"all": "aXb"}),
    ],
)
def test_the_more_a_route_says_the_sooner_it_is_taken(
    target: str, route: str, values: dict[str, str]
) -> None:
    found = match(FUNCTIONS, "api", HttpRequest("GET", target, (), b"", ""))
    assert found == (function(route), values)


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/"), ("GET", "/inngest"), ("DELETE", "/api/inngest")]
)
def test_what_has_no_route_or_another_method_is_not_found(method: str, target: str) -> None:
    assert match(FUNCTIONS, "api", HttpRequest(method, target, (), b"", "")) is None


def test_without_the_runtime_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("azure", "azure.functions", "azure_functions_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    said = missing_runtime()
    assert said is not None
    assert "azure-functions and azure-functions-runtime==" in said
    assert "pip install" in said
    with pytest.raises(Problem, match="azure-functions-runtime"):
        check_app("azure", "shop:client", APPS)


def test_without_the_runtime_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure_functions_runtime", None)

    async def main() -> None:
        async with LocalFunctionApp(FunctionAppConfig(APPS)):
            raise AssertionError("it started")

    with pytest.raises(RuntimeError, match="azure-functions-runtime"):
        asyncio.run(main())


def test_an_import_that_never_ends_is_given_up(runtime: None, tmp_path: Path) -> None:
    script = tmp_path / "hanging_app.py"
    script.write_text("import threading; threading.Event().wait()")

    async def main() -> None:
        async with LocalFunctionApp(FunctionAppConfig(tmp_path, script, init_timeout=0.5)):
            raise AssertionError("it started")

    with pytest.raises(WorkerFailed, match=r"loading the app took longer than 0\.5 s"):
        asyncio.run(main())


def test_its_log_goes_to_standard_error(
    runtime: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "telling_app.py"
    script.write_text("import logging; logging.info('logged'); print('printed'); raise SystemExit")

    async def main() -> None:
        async with LocalFunctionApp(FunctionAppConfig(tmp_path, script)):
            raise AssertionError("it started")

    with pytest.raises(WorkerFailed, match="its process ended while it was imported"):
        asyncio.run(main())
    lines = capsys.readouterr().err.splitlines()
    assert "[function app] INFO root: logged" in lines
    assert "[function app] printed" in lines


def test_host_json_that_is_not_there_means_the_prefix_api() -> None:
    assert FunctionAppConfig(script=LOCAL_SCRIPT).route_prefix == "api"
