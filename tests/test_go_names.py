"""docs/go.md is true: each name of its tables has a case that does what the Go name does."""

from __future__ import annotations

import ast
import asyncio
import builtins
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

import inngest_serverless as ours
from inngest_sdk import endpoint, signing
from inngest_sdk.config import Config, Secret
from inngest_sdk.drive import drive
from inngest_sdk.errors import SignatureInvalidError
from inngest_sdk.http import Request, Response
from inngest_serverless import asgi, aws
from tests.engine.serving import serving
from tests.migrate.page import DOCS, code, rows
from tests.sdk.play import FRONT, NOW, Played, app, define

Case: TypeAlias = Callable[[], None]
CASES: dict[str, Case] = {}
TRUST = "trust probe, introspection, registration"  # the one line without a name
KEY = "signkey-test-12345678"


def names() -> list[str]:
    """The Go names of the page, those without a name as they stand."""
    return [name for row in rows("go.md") for name in code(row[0]) or [row[0]]]


def go(*go_names: str) -> Callable[[Case], Case]:
    """Say which names a case tries."""

    def remember(case: Case) -> Case:
        for name in go_names:
            assert name not in CASES
            CASES[name] = case
        return case

    return remember


def test_every_name_has_a_case_and_every_case_a_name() -> None:
    assert sorted(CASES) == sorted(names())


@pytest.mark.parametrize("name", names())
def test_what_a_go_name_does_is_done(name: str) -> None:
    CASES[name]()


# --- the code on the page ---------------------------------------------------------------------


@cache
def page() -> dict[str, Any]:
    """The names that the page's program defines, run in development."""
    program: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("INNGEST_DEV", "1")
        for part in (DOCS / "go.md").read_text(encoding="utf-8").split("```python\n")[1:]:
            exec(compile(part.split("```")[0], "go.md", "exec", dont_inherit=True), program)
    return program


def examples() -> Iterator[str]:
    """What the tables show as code of ours."""
    for row in rows("go.md"):
        yield from code(row[1])


@pytest.mark.parametrize("example", sorted(set(examples())))
def test_the_code_in_a_table_names_what_there_is(example: str) -> None:
    if example.startswith("INNGEST_"):
        assert f"| `{example}` |" in (DOCS / "reference.md").read_text(encoding="utf-8")
    elif example.startswith("/"):
        assert example == "/fn/register"
    elif argument := re.match(r"[a-z_]+(?==)", example):
        takers = (ours.Inngest.create_function, ours.Step.wait_for_event, ours.Step.invoke)
        assert any(argument.group() in inspect.signature(each).parameters for each in takers)
    else:
        Looks().visit(ast.parse(example))


class Looks(ast.NodeVisitor):
    """Looks up each name and attribute, and each keyword of a call."""

    def __init__(self) -> None:
        captured: list[Any] = []
        define(captured.append, app()).call()
        error = ours.StepError("no", "ValueError")
        self.names = {**vars(builtins), **page(), "ctx": captured[0], "error": error}

    def visit_Name(self, node: ast.Name) -> None:
        assert node.id in self.names

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        owner = self.value(node.value)
        assert node.attr in dir(owner), ast.unparse(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        try:
            parameters = inspect.signature(self.value(node.func)).parameters
        except ValueError:  # C code, whose signature nobody knows: see whether it takes them
            self.value(node)
            return
        for keyword in node.keywords:
            assert keyword.arg in parameters, ast.unparse(node)

    def value(self, node: ast.expr) -> Any:
        return eval(ast.unparse(node), self.names)


# --- worlds -----------------------------------------------------------------------------------


def ask(application: Any, method: str, url: str, **options: Any) -> httpx.Response:
    """Ask an ASGI application."""

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application)) as http:
            return await http.request(method, url, **options)

    return asyncio.run(answer())


def registration(client: ours.Inngest, **options: Any) -> Any:
    """What an app answers to a registration in the answer itself."""
    url = "http://host/path"
    headers = {"x-inngest-sync-kind": "in_band"}
    answer = ask(
        asgi.serve(client, **options), "PUT", url, headers=headers, content=json.dumps({"url": url})
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


class Heard:
    """A server that takes everything, and remembers it: paths, headers, bodies."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []

    async def _take(self, request: WebRequest) -> JSONResponse:
        body = await request.json()
        self.requests.append((request.url.path, request.headers, body))
        count = len(body) if isinstance(body, list) else 1
        return JSONResponse({"ok": True, "status": 200, "ids": [f"id-{n}" for n in range(count)]})

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        route = Route("/{path:path}", self._take, methods=["POST"])
        async with serving(Starlette(routes=[route])) as origin:
            yield origin


def registered_at(**url_of: str) -> tuple[str, Mapping[str, str], Any]:
    """What a server is told when the app registers, with its URL as this argument."""
    heard = Heard()

    async def play() -> None:
        async with heard.served() as origin:
            settings: dict[str, Any] = {each: origin for each in url_of}
            client = ours.Inngest(app_id="core", is_production=False, **settings)
            transport = httpx.ASGITransport(asgi.serve(client))
            async with httpx.AsyncClient(transport=transport) as http:
                assert (await http.put("http://host/path")).status_code == 200

    asyncio.run(play())
    return heard.requests[0]


def sent(events: Any, **settings: Any) -> tuple[list[str], tuple[str, Mapping[str, str], Any]]:
    """The ids of events that were sent, and what the server heard of them."""
    heard = Heard()

    async def play() -> list[str]:
        async with heard.served() as origin:
            client = app(event_api_base_url=origin, **settings)
            ids = await client.send(events)
            assert await asyncio.to_thread(client.send_sync, events) == ids
            return ids

    return asyncio.run(play()), heard.requests[0]


def from_env(**variables: str) -> Config:
    """The settings in this environment."""
    return Config.from_env({f"INNGEST_{name}": value for name, value in variables.items()})


async def nothing(ctx: Any) -> None:
    return None


def unsigned_call(application: Any, body: Any, fn_id: str) -> httpx.Response:
    return ask(application, "POST", f"http://host/?fnId={fn_id}&stepId=step", json=body)


# --- serving ----------------------------------------------------------------------------------


@go("NewHandler", "Handler", "Handler.ServeHTTP")
def _() -> None:
    answer = ask(page()["app"], "GET", "http://host/")
    assert answer.json()["function_count"] == 3
    http = {"method": "GET", "path": "/"}
    lambda_event = {"version": "2.0", "rawPath": "/", "rawQueryString": "", "headers": {}}
    context = {"http": http, "domainName": "x.lambda-url.eu-west-1.on.aws"}
    answered = page()["handler"]({**lambda_event, "requestContext": context}, None)
    assert json.loads(answered["body"])["function_count"] == 3


@go("Handler.Register", "Register")
def _() -> None:
    client = app()
    assert registration(client)["functions"] == []
    client.create_function(fn_id="f", trigger=ours.TriggerEvent(event="a/b"))(nothing)
    assert [each["id"] for each in registration(client)["functions"]] == ["shop-f"]


@go("Handler.SetAppName")
def _() -> None:
    assert registration(page()["client"])["app_id"] == "core"


@go("Handler.SetOptions", "HandlerOpts")
def _() -> None:
    client = app(env="branch")
    told = registration(client, serve_path="/p")
    assert (told["env"], told["url"]) == ("branch", "http://host/p")


@go("DefaultHandler", "Serve")
def _() -> None:
    ask_both = """
import asyncio, json, httpx
from inngest_serverless.asgi import app
from inngest_serverless.aws import handler

async def get():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        return (await http.get("http://host/")).json()

context = {"http": {"method": "GET", "path": "/"}, "domainName": "x.lambda-url.us-east-1.on.aws"}
event = {"version": "2.0", "rawPath": "/", "rawQueryString": "", "headers": {}}
answer = handler({**event, "requestContext": context}, None)
print(asyncio.run(get())["function_count"], json.loads(answer["body"])["function_count"])
"""
    orders = Path(__file__).parent.parent / "examples" / "orders"
    environ = {**os.environ, "INNGEST_DEV": "1", "INNGEST_APP": "orders.functions:client"}
    command = [sys.executable, "-c", ask_both]
    first, second = subprocess.check_output(command, cwd=orders, env=environ, text=True).split()
    assert int(first) == int(second) > 1


@go("HandlerOpts.Logger")
def _() -> None:
    heard: list[str] = []

    class Logger:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda text, *args, **kwargs: heard.append(text)

    def say(ctx: Any) -> None:
        ctx.logger.info("hello")

    logger: Any = Logger()
    define(say, app(logger=logger)).call()
    assert "hello" in heard


@go("HandlerOpts.SigningKey")
def _() -> None:
    client = ours.Inngest(app_id="core", is_production=True, signing_key=KEY)
    url = "http://host/"
    assert ask(asgi.serve(client), "GET", url).status_code == 401
    headers = {"x-inngest-signature": signing.sign(KEY, b"", int(time.time()))}
    assert ask(asgi.serve(client), "GET", url, headers=headers).status_code == 200
    assert from_env(SIGNING_KEY=KEY).signing_keys == (Secret(KEY),)


@go("HandlerOpts.SigningKeyFallback")
def _() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("INNGEST_SIGNING_KEY_FALLBACK", "ab34")
        client = ours.Inngest(app_id="core", is_production=True, signing_key=KEY)
    headers = {"x-inngest-signature": signing.sign("ab34", b"", int(time.time()))}
    assert ask(asgi.serve(client), "GET", "http://host/", headers=headers).status_code == 200


@go("HandlerOpts.APIBaseURL", "HandlerOpts.RegisterURL", "HandlerOpts.GetRegisterURL")
def _() -> None:
    path, _, body = registered_at(api_base_url="")
    assert (path, body["appName"]) == ("/fn/register", "core")
    assert from_env(API_BASE_URL="http://own:1").api_origin == "http://own:1"
    client = page()["client"]
    assert f"{client.api_origin}/fn/register" == "http://localhost:8288/fn/register"


@go("HandlerOpts.EventAPIBaseURL", "ClientOpts.EventURL")
def _() -> None:
    ids, (path, _, _) = sent(ours.Event(name="a/b"))
    assert (ids, path) == (["id-0"], "/e/NO_EVENT_KEY_SET")
    assert from_env(EVENT_API_BASE_URL="http://own:1").event_api_origin == "http://own:1"


@go("HandlerOpts.ServeOrigin", "HandlerOpts.ServePath", "HandlerOpts.URL")
def _() -> None:
    told = registration(app(), serve_origin="https://o.example", serve_path="/p")
    assert told["url"] == "https://o.example/p"
    assert registration(app(), serve_origin="https://o.example")["url"] == "https://o.example/path"
    config = from_env(SERVE_ORIGIN="https://e.example", SERVE_PATH="/e")
    assert (config.serve_origin, config.serve_path) == ("https://e.example", "/e")


@go("HandlerOpts.Env", "ClientOpts.Env", "HandlerOpts.GetEnv", "InputCtx.Env")
def _() -> None:
    client = app(env="branch")
    assert client.env == registration(client)["env"] == "branch"
    assert from_env(ENV="other").env == "other"
    _, (_, headers, _) = sent(ours.Event(name="a/b"), env="branch")
    assert headers["x-inngest-env"] == "branch"


@go("HandlerOpts.MaxBodySize")
def _() -> None:
    small = asgi.serve(app(), max_body_bytes=10)
    assert ask(small, "POST", "http://host/", content=b"x" * 11).status_code == 413


@go("DefaultMaxBodySize")
def _() -> None:
    assert asgi.MAX_BODY_BYTES == 32 * 1024 * 1024
    assert endpoint.MAX_REQUEST == 100 * 1024 * 1024  # what the core itself takes from others


@go("HandlerOpts.UseStreaming", "StreamResponse")
def _() -> None:
    assert from_env(STREAMING="allow").streaming is ours.Streaming.ALLOW
    client = app(streaming=ours.Streaming.FORCE)
    define(lambda ctx: 7, client)
    call = {"ctx": {"run_id": "01RUN"}, "event": {"name": "a/b"}}
    answer = unsigned_call(asgi.serve(client), call, "shop-f")
    assert (answer.status_code, answer.text[:1]) == (201, " ")
    document = answer.json()
    assert (document["status"], document["body"]) == (200, "7")


@go("HandlerOpts.AllowInBandSync", "HandlerOpts.IsInBandSyncAllowed")
def _() -> None:
    assert page()["client"].config.allow_in_band_sync
    assert from_env(ALLOW_IN_BAND_SYNC="0").allow_in_band_sync is False


@go("HandlerOpts.GetSigningKey", "HandlerOpts.GetSigningKeyFallback")
def _() -> None:
    config = from_env(SIGNING_KEY=KEY, SIGNING_KEY_FALLBACK="ab34")
    assert config.signing_keys == (Secret(KEY), Secret("ab34"))


@go("HandlerOpts.GetAPIBaseURL", "HandlerOpts.GetEventAPIBaseURL")
def _() -> None:
    client = app(api_base_url="http://api:1", event_api_base_url="http://events:1")
    assert (client.api_origin, client.event_api_origin) == ("http://api:1", "http://events:1")


@go("HandlerOpts.GetServeOrigin", "HandlerOpts.GetServePath")
def _() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("INNGEST_SERVE_ORIGIN", "https://e.example")
        patched.setenv("INNGEST_SERVE_PATH", "/e")
        client = app()
    assert client.config.serve_origin == "https://e.example"
    assert client.config.serve_path == "/e"


@go("IsDev", "DevServerURL")
def _() -> None:
    assert not from_env(DEV="1").is_production
    assert from_env(DEV="0").is_production
    assert from_env(DEV="http://192.168.1.254:8288").api_origin == "http://192.168.1.254:8288"
    client = page()["client"]
    assert not client.config.is_production
    assert client.api_origin == "http://localhost:8288"


@go(TRUST)
def _() -> None:
    client = ours.Inngest(app_id="core", is_production=True, signing_key=KEY)
    application = asgi.serve(client)
    headers = {"x-inngest-signature": signing.sign(KEY, b"", int(time.time()))}
    probe = ask(application, "POST", "http://host/?probe=trust", headers=headers)
    assert probe.status_code == 200
    signing.verify(probe.content, probe.headers["x-inngest-signature"], [KEY], time.time())
    told = ask(application, "GET", "http://host/", headers=headers).json()
    assert told["authentication_succeeded"] is True
    assert told["capabilities"] == {"in_band_sync": "v1", "trust_probe": "v1"}


# --- functions --------------------------------------------------------------------------------


@cache
def entry(name: str = "account_created") -> dict[str, Any]:
    """What is registered of a function of the page."""
    [told] = page()[name].configs("https://example.com/api/inngest")
    found: dict[str, Any] = told
    return found


@go("CreateFunction", "FunctionOpts", "FunctionOpts.ID")
def _() -> None:
    assert entry()["id"] == "core-account-created"
    url = "https://example.com/api/inngest?fnId=core-account-created&stepId=step"
    assert entry()["steps"]["step"]["runtime"] == {"type": "http", "url": url}


@go("FunctionOpts.Name")
def _() -> None:
    assert entry()["name"] == "Account creation flow"
    assert entry("create_group")["name"] == "create-group"


@go("FunctionOpts.Retries")
def _() -> None:
    assert entry()["steps"]["step"]["retries"] == {"attempts": 3}


@go("FunctionOpts.Priority")
def _() -> None:
    assert entry()["priority"] == {"run": "event.data.vip ? 60 : 0"}


@go("FunctionOpts.Concurrency")
def _() -> None:
    limit = {"limit": 5, "key": "event.data.account", "scope": "fn"}
    assert entry()["concurrency"] == [limit]


@go("FunctionOpts.Idempotency")
def _() -> None:
    assert entry()["idempotency"] == "event.data.account"


@go("FunctionOpts.Cancel")
def _() -> None:
    expression = "event.data.account == async.data.account"
    cancel = {"event": "api/account.deleted", "if": expression, "timeout": "1h"}
    assert entry()["cancel"] == [cancel]


@go("FunctionOpts.Debounce", "Debounce")
def _() -> None:
    assert entry()["debounce"] == {"period": "10s", "key": "event.data.account"}


@go("FunctionOpts.Timeouts", "Timeouts")
def _() -> None:
    assert entry()["timeouts"] == {"start": "1m", "finish": "1h"}


@go("FunctionOpts.Throttle", "Throttle")
def _() -> None:
    throttle = {"limit": 10, "period": "1m", "burst": 2, "key": "event.data.plan"}
    assert entry()["throttle"] == throttle


@go("FunctionOpts.RateLimit", "RateLimit")
def _() -> None:
    assert entry()["rateLimit"] == {"limit": 1, "period": "5m", "key": "event.data.account"}


@go("FunctionOpts.BatchEvents", "Input.Events")
def _() -> None:
    batch = {"maxSize": 10, "timeout": "30s", "key": "event.data.account"}
    assert entry("count_mails")["batchEvents"] == batch
    played = Played(page()["client"], page()["count_mails"])
    two = [{"name": "api/mail.opened", "data": {"n": n}} for n in (1, 2)]
    assert json.loads(played.call(event=two[0], events=two).body) == 2


@go("EventTrigger", "CronTrigger", "MultipleTriggers")
def _() -> None:
    assert entry()["triggers"] == [
        {"event": "api/account.created", "expression": "event.data.plan != 'free'"},
        {"cron": "TZ=Europe/Paris 0 9 * * MON"},
    ]


@go("SDKFunction")
def _() -> None:
    def plain(ctx: ours.ContextSync) -> str:
        return ctx.event.name

    async def awaited(ctx: ours.Context) -> str:
        return ctx.event.name

    assert [define(each).finish() for each in (plain, awaited)] == ["a/b", "a/b"]


@go("ServableFunction")
def _() -> None:
    function = page()["account_created"]
    assert (function.id, function.name) == ("core-account-created", "Account creation flow")
    assert function.options.retries == 3
    assert len(function.triggers) == 2
    assert inspect.iscoroutinefunction(function.handler)


@go("Input", "InputCtx", "Input.Event", "InputCtx.RunID", "InputCtx.FunctionID", "InputCtx.Attempt")
def _() -> None:
    async def told(ctx: ours.Context) -> list[object]:
        return [ctx.run_id, ctx.function_id, ctx.attempt, ctx.event.name, ctx.event.data]

    found = json.loads(define(told).call(attempt=2).body)
    assert found == ["01RUN", "shop-f", 2, "a/b", {"n": 1}]


@go("InputCtx.StepID")
def _() -> None:
    async def told(ctx: ours.Context) -> str:
        async def key() -> str:
            return ctx.idempotency_key

        return await ctx.step.run("a", key)

    hashed = hashlib.sha1(b"a").hexdigest()  # as in Go
    [op] = define(told).ops()
    assert op["id"] == hashed
    assert op["data"].endswith(hashed)


@go("ErrTypeMismatch")
def _() -> None:
    made = ours.event_type("a/b", dict[str, UUID])

    async def handler(ctx: Any) -> None:
        raise AssertionError("not reached")

    answer = define(handler, trigger=made).call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "does not fit" in json.loads(answer.body)["message"]


# --- steps ------------------------------------------------------------------------------------

CREATED = {
    "name": "api/account.created",
    "data": {"account": "a1"},
    "user": {"email": "ada@example.com"},
}
OPENED = {"name": "api/mail.opened", "data": {"account": "a1"}}


def journey(memo_of: Callable[[Mapping[str, Any]], Any]) -> tuple[list[Any], Response]:
    """The ops of the page's function on its way, and its last answer. Each step comes to what
    `memo_of` says."""
    played = Played(page()["client"], page()["account_created"])
    ops: list[Any] = []
    while (answer := played.call(event=CREATED, events=[CREATED])).status == 206:
        ops += json.loads(answer.body)
        played.memo(ops[-1], memo_of(ops[-1]))
    return ops, answer


def comes_true(op: Mapping[str, Any]) -> Any:
    if op["op"] == "WaitForEvent":
        return OPENED
    return None if op["op"] == "Sleep" else {"data": op["data"] or "group-a1"}


def op_of(kind: str) -> Any:
    ops, _ = journey(comes_true)
    [found] = [op for op in ops if op["op"] == kind]
    return found


@go("step.Run")
def _() -> None:
    assert op_of("StepRun")["data"] == "mailed ada@example.com"


@go("step.Sleep")
def _() -> None:
    assert op_of("Sleep")["opts"] == {"duration": "1s"}
    for written in (timedelta(minutes=90), 5_400_000, "1h30m"):

        async def nap(ctx: ours.Context, written: Any = written) -> None:
            await ctx.step.sleep("nap", written)

        assert define(nap).ops()[0]["opts"] == {"duration": "1h30m"}


@go(
    "step.WaitForEvent",
    "step.WaitForEventOpts",
    "step.WaitForEventOpts.Name",
    "step.WaitForEventOpts.Event",
    "step.WaitForEventOpts.If",
    "step.WaitForEventOpts.Timeout",
)
def _() -> None:
    op = op_of("WaitForEvent")
    assert op["displayName"] == "opened"
    assert op["opts"] == {
        "event": "api/mail.opened",
        "if": "event.data.account == async.data.account",
        "timeout": "72h",
    }


@go("step.ErrEventNotReceived")
def _() -> None:
    def too_late(op: Mapping[str, Any]) -> Any:
        return None if op["op"] == "WaitForEvent" else comes_true(op)

    _, answer = journey(too_late)
    assert (answer.status, json.loads(answer.body)) == (200, "mailed ada@example.com")


@go("step.Invoke", "step.InvokeOpts", "step.InvokeOpts.Data")
def _() -> None:
    opts = op_of("InvokeFunction")["opts"]
    assert opts["function_id"] == "core-create-group"
    assert opts["payload"]["data"] == {"account": "a1"}
    _, answer = journey(comes_true)
    assert json.loads(answer.body) == "group-a1"


@go("step.InvokeOpts.FunctionId", "step.InvokeOpts.User", "step.InvokeOpts.Timeout")
def _() -> None:
    async def call(ctx: ours.Context) -> object:
        return await ctx.step.invoke_by_id(
            "group",
            app_id="core",
            function_id="create-group",
            data={"user": "ada"},
            timeout=timedelta(hours=1),
        )

    [op] = define(call).ops()
    assert op["opts"] == {
        "function_id": "core-create-group",
        "payload": {"data": {"user": "ada"}},
        "timeout": "1h",
    }
    assert "user" not in inspect.signature(ours.Step.invoke).parameters


# --- errors -----------------------------------------------------------------------------------


def fails(error: Exception) -> Response:
    """The answer of a function that raises this."""

    async def handler(ctx: ours.Context) -> None:
        raise error

    return define(handler).call()


@go("NoRetryError", "errors.NoRetryError")
def _() -> None:
    answer = fails(ours.NonRetriableError("no such account"))
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert fails(ValueError("once more")).headers["x-inngest-no-retry"] == "false"


@go("RetryAtError", "errors.RetryAtError")
def _() -> None:
    at = datetime(2030, 1, 1, tzinfo=timezone.utc)
    answer = fails(ours.RetryAfterError("busy", at))
    assert answer.headers["x-inngest-no-retry"] == "false"
    assert answer.headers["retry-after"].startswith("2030-01-01T00:00:00")


@go("StepError", "errors.StepError")
def _() -> None:
    def refused(op: Mapping[str, Any]) -> Any:
        if op["op"] == "InvokeFunction":
            return {"error": {"name": "NoMoney", "message": "none left"}}
        return comes_true(op)

    _, answer = journey(refused)
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert json.loads(answer.body)["message"] == "no group"

    async def handler(ctx: ours.Context) -> object:
        try:
            return await ctx.step.run("a", mail)
        except ours.StepError as error:
            return [error.name, error.message]

    async def mail() -> None:
        raise ValueError("nobody there")

    assert define(handler, retries=0).call(attempt=3).status == 206
    played = define(handler)
    played.max_attempts = 1
    assert played.finish() == ["ValueError", "nobody there"]


@go("errors.IsNoRetryError", "errors.IsStepError", "errors.GetRetryAtTime")
def _() -> None:
    assert isinstance(ours.NonRetriableError("x"), ours.Error)
    assert not isinstance(ours.StepError("x"), ours.NonRetriableError)
    assert ours.RetryAfterError("busy", 1000).retry_after == 1000


# --- events -----------------------------------------------------------------------------------


@go("NewClient", "Client", "DefaultClient", "ClientOpts")
def _() -> None:
    assert page()["client"].app_id == "core"
    assert ours.Inngest(app_id="core", is_production=False).app_id == "core"


@go("ClientOpts.EventKey")
def _() -> None:
    _, (path, _, _) = sent(ours.Event(name="a/b"), event_key="k1")
    assert path == "/e/k1"
    assert from_env(EVENT_KEY="k2").event_key == Secret("k2")


@go("ClientOpts.HTTPClient")
def _() -> None:
    assert app(request_timeout=timedelta(seconds=5)).config.request_timeout == 5


@go("Send", "Client.Send")
def _() -> None:
    ids, (_, _, body) = sent(page()["event"])
    assert ids == ["id-0"]
    assert [event["name"] for event in body] == ["api/account.created"]


@go("SendMany", "Client.SendMany")
def _() -> None:
    ids, (_, _, body) = sent([ours.Event(name="a/b"), ours.Event(name="a/c")])
    assert ids == ["id-0", "id-1"]
    assert [event["name"] for event in body] == ["a/b", "a/c"]


@go(
    "Event",
    "Event.ID",
    "Event.Name",
    "Event.Data",
    "Event.User",
    "Event.Timestamp",
    "Event.Version",
    "Email",
    "ExternalID",
)
def _() -> None:
    before = int(time.time() * 1000)
    _, (_, _, [body]) = sent(page()["event"])
    assert before - 3_600_000 < body.pop("ts") <= before
    assert body == {
        "name": "api/account.created",
        "data": {"account": "a1", "plan": "pro"},
        "user": {"email": "ada@example.com", "external_id": "u1"},
        "id": "a1",
        "v": "1",
    }

    async def read(ctx: ours.Context) -> list[object]:
        event = ctx.event
        return [event.user["email"], event.user["external_id"], event.id, event.ts, event.v]

    arrived = {**body, "ts": 5}
    found = json.loads(define(read).call(event=arrived, events=[arrived]).body)
    assert found == ["ada@example.com", "u1", "a1", 5, "1"]


@go("Event.Validate")
def _() -> None:
    for event in (ours.Event(name=""), ours.Event(name="a/b", data={"x": object()})):
        with pytest.raises(ours.SendEventsError):
            app().send_sync(event)


@go("Event.Map")
def _() -> None:
    event = ours.Event(name="a/b", data={"n": 1}, id="e")
    assert event.to_json() == {"name": "a/b", "data": {"n": 1}, "id": "e"}


@go("GenericEvent")
def _() -> None:
    made = ours.event_type("a/b", dict[str, datetime])
    _, (_, _, [body]) = sent(made({"at": datetime(2030, 1, 1, tzinfo=timezone.utc)}))
    assert body["data"] == {"at": "2030-01-01T00:00:00Z"}


@go("NowMillis", "Timestamp")
def _() -> None:
    at = datetime(2030, 1, 1, tzinfo=timezone.utc)
    _, (_, _, [body]) = sent(ours.Event(name="a/b", ts=int(at.timestamp() * 1000)))
    assert body["ts"] == 1_893_456_000_000
    _, (_, _, [body]) = sent(ours.Event(name="a/b"))  # without one: now
    assert abs(body["ts"] - int(time.time() * 1000)) < 60_000


# --- signatures -------------------------------------------------------------------------------


@go("Sign", "ValidateSignature")
def _() -> None:
    assert page()["key"] == KEY
    now = int(NOW)
    header = signing.sign(KEY, b"{}", now)
    assert header.startswith(f"t={now}&s=")
    assert signing.verify(b"{}", header, ["ab34", KEY], now) == KEY


@go("ErrExpiredSignature", "ErrInvalidSignature", "ErrInvalidTimestamp")
def _() -> None:
    header = signing.sign(KEY, b"{}", int(NOW))
    wrong: list[tuple[str, list[str], float, str]] = [
        (header, [KEY], NOW + 301, "old"),
        (header, [KEY], NOW - 301, "old"),
        (header, ["ab34"], NOW, "another key"),
        (header.replace("t=1", "t=x"), [KEY], NOW, "form"),
    ]
    for given, keys, now, says in wrong:
        with pytest.raises(SignatureInvalidError, match=says):
            signing.verify(b"{}", given, keys, now)


# --- the rest ---------------------------------------------------------------------------------


@go("StrPtr", "IntPtr")
def _() -> None:
    assert ours.TriggerEvent(event="a/b", expression=None).to_wire() == {"event": "a/b"}
    assert ours.TriggerEvent(event="a/b", expression="event.data.n > 1").to_wire() == {
        "event": "a/b",
        "expression": "event.data.n > 1",
    }


@go(
    "SDKLanguage",
    "SDKVersion",
    "HeaderValueSDK",
    "HeaderKeyAuthorization",
    "SetBasicRequestHeaders",
    "SetBasicResponseHeaders",
)
def _() -> None:
    answer = drive(endpoint.serve(app(), Request("GET", "http://host/", {}), FRONT, now=NOW))
    sdk = f"inngest-serverless:v{ours.__version__}"
    assert answer.headers["x-inngest-sdk"] == sdk
    assert answer.headers["x-inngest-req-version"] == "2"
    _, asked, _ = registered_at(api_base_url="")
    assert asked["x-inngest-sdk"] == sdk
    assert callable(aws.serve)
