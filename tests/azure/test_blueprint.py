"""The functions that an app gets, as azure-functions sees them."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import subprocess
import sys
import time
from typing import Any

import azure.functions as func
import pytest

from inngest_sdk import signing
from inngest_serverless import Inngest, Streaming, TriggerEvent
from inngest_serverless.azure import app, blueprint
from inngest_serverless.azure.entrypoint import Door, answer
from inngest_serverless.discovery import LazyClient

KEY = "signkey-test-" + "ab" * 16


def shop(**settings: Any) -> Inngest:
    settings = {"is_production": False, "api_base_url": "http://127.0.0.1:1", **settings}
    client = Inngest(app_id="shop", **settings)

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
    def order(ctx: Any) -> object:
        return {"paid": True}

    return client


def bindings_of(made: func.Blueprint | func.FunctionApp) -> dict[str, Any]:
    if isinstance(made, func.Blueprint):
        whole = func.FunctionApp()
        whole.register_functions(made)
        made = whole
    (function,) = made.get_functions()
    trigger, _ = (json.loads(each) for each in function.get_raw_bindings())
    return {"function": function.get_function_name(), **trigger}


def ask(made: func.Blueprint, method: str, **more: Any) -> func.HttpResponse:
    whole = func.FunctionApp()
    whole.register_functions(made)
    (function,) = whole.get_functions()
    url = "https://shop.azurewebsites.net/api/inngest"
    fields: dict[str, Any] = {"url": url, "body": b"", "headers": {}, **more}
    request = func.HttpRequest(method, **fields)
    said: func.HttpResponse = asyncio.run(function.get_user_function()(request))
    return said


def test_the_app_has_one_anonymous_function() -> None:
    found = bindings_of(app)
    assert (found["function"], found["route"], found["authLevel"]) == (
        "inngest",
        "inngest",
        "ANONYMOUS",
    )
    assert {"GET", "POST", "PUT"} <= set(found["methods"])


def test_a_blueprint_may_be_told_its_route_name_and_level() -> None:
    made = blueprint(shop(), route="jobs/in", name="jobs", auth_level=func.AuthLevel.FUNCTION)
    found = bindings_of(made)
    assert (found["function"], found["route"], found["authLevel"]) == (
        "jobs",
        "jobs/in",
        "FUNCTION",
    )


def test_a_blueprint_registers_where_the_code_says() -> None:
    client = shop(is_production=True, signing_key=KEY, event_key="event-key")
    made = blueprint(client, serve_origin="https://jobs.example", serve_path="/in")
    body = b'{"url": "https://shop.azurewebsites.net/api/inngest?code=sesame"}'
    headers = {
        "x-inngest-signature": signing.sign(KEY, body, int(time.time())),
        "x-inngest-server-kind": "cloud",
        "x-inngest-sync-kind": "in_band",
    }
    url = "https://shop.azurewebsites.net/api/inngest?code=sesame"
    said = ask(made, "PUT", body=body, headers=headers, url=url)
    assert json.loads(said.get_body())["url"] == "https://jobs.example/in?code=sesame"


def test_an_answer_in_one_piece_cannot_be_forced_to_stream() -> None:
    said = ask(blueprint(shop(), streaming=Streaming.FORCE), "PUT")
    assert said.status_code == 500
    assert b"stream" in said.get_body()


@pytest.mark.parametrize(
    ("headers", "url", "warned"),
    [
        ({"x-functions-key": "sesame"}, "https://h/api/inngest", True),
        ({"x-functions-key": "sesame"}, "https://h/api/inngest?code=sesame", False),
        ({}, "https://h/api/inngest", False),
    ],
)
def test_a_key_that_would_not_be_registered_is_warned_of(
    headers: dict[str, str], url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ask(blueprint(shop()), "PUT", headers=headers, url=url)
    assert ("register the URL with ?code=" in caplog.text) is warned
    assert "sesame" not in caplog.text


def test_a_body_beyond_the_limit_is_refused() -> None:
    said = ask(blueprint(shop()), "POST", body=bytes(100 * 1024 * 1024 + 1))
    assert said.status_code == 413
    assert said.headers["x-inngest-sdk"]


def test_a_defect_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def request() -> Any:
        raise ZeroDivisionError("a defect")

    said: Any = asyncio.run(answer(Door(shop), request))
    assert said.status == 500
    assert said.headers["x-inngest-sdk"]
    assert b"ZeroDivisionError" in said.body
    assert b"a defect" not in said.body
    assert "report this as a bug" in caplog.text


def test_an_app_that_cannot_be_loaded_is_told_without_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Inngest:
        raise RuntimeError("postgres://user:password@db")

    with caplog.at_level(logging.ERROR):
        said: Any = asyncio.run(answer(Door(broken), _nothing))
    assert b"it raised RuntimeError" in said.body
    assert b"password" not in said.body
    assert "could not be loaded" in caplog.text


def test_the_app_that_a_variable_names_is_found_at_the_first_call() -> None:
    door = Door(LazyClient({"INNGEST_APP": "nowhere:client"}).get)
    said: Any = asyncio.run(answer(door, _nothing))
    assert b"there is no module 'nowhere'" in said.body


async def _nothing() -> Any:
    return None


def test_only_the_streaming_module_loads_the_extension() -> None:
    code = (
        "import sys, inngest_serverless.azure; "
        "print(*sorted(m for m in sys.modules if m.startswith('azurefunctions')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_streaming_without_its_extension_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "azurefunctions.extensions.http.fastapi", None)
    monkeypatch.delitem(sys.modules, "inngest_serverless.azure.streaming", raising=False)
    with pytest.raises(Exception, match="azurefunctions-extensions-http-fastapi in requirements"):
        importlib.import_module("inngest_serverless.azure.streaming")
