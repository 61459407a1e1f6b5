"""Each line of the tables in docs/migrate.md is tried, with both SDKs where it speaks of both."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import date, timedelta
from importlib import import_module
from typing import Any, TypeAlias

import httpx
import inngest
import pydantic
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as WebRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

import inngest_serverless as ours
from inngest_sdk import signing
from inngest_sdk.drive import drive
from inngest_sdk.endpoint import serve
from inngest_sdk.http import Request, Response
from inngest_serverless import asgi, aws
from inngest_serverless.integrations import offload
from tests.engine.serving import serving
from tests.migrate.official_app import OfficialApp
from tests.migrate.page import DOCS, rows
from tests.sdk.play import FRONT, NOW, app, define

# The official SDK offers no way to close all of its connections; the garbage collector finds them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _swept() -> Iterator[None]:
    yield
    gc.collect()  # what the official SDK left open is warned of here, and not in other tests


TABLES = ("What is the same", "What is better", "What differs")
Case: TypeAlias = Callable[[], None]
CASES: dict[str, Case] = {}


def claims() -> list[str]:
    return [row[0] for row in rows("migrate.md", *TABLES)]


def line(first_cell: str) -> Callable[[Case], Case]:
    """Say which line of the tables a case tries, by its first cell."""

    def remember(case: Case) -> Case:
        assert first_cell not in CASES
        CASES[first_cell] = case
        return case

    return remember


def test_every_line_has_a_case_and_every_case_a_line() -> None:
    assert sorted(CASES) == sorted(claims())


@pytest.mark.parametrize("claim", claims())
def test_what_a_line_says_is_so(claim: str) -> None:
    CASES[claim]()


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def body(steps: Mapping[str, Any] | None = None, **ctx: Any) -> dict[str, Any]:
    """A call, as a server sends it."""
    sent = {"name": "a/b", "data": {"n": 1}, "id": "e", "ts": 1, "user": {"email": "a@b"}, "v": "2"}
    facts = {"run_id": "01RUN", "attempt": 0, "max_attempts": 4, "fn_id": "x", "env": ""}
    rest = {"disable_immediate_execution": False, "use_api": False}
    stack = {"stack": [], "current": 0}
    call = {"ctx": {**facts, **rest, "stack": stack, **ctx}, "steps": steps or {}}
    return {**call, "event": sent, "events": [sent], "use_api": False}


def ours_called(handler: Callable[[Any], Any], **options: Any) -> Response:
    """Our answer to a call."""
    return define(handler, options.pop("client", None)).call(**options)


def there_and_here(handler: Callable[[Any], Any], steps: Mapping[str, Any]) -> list[Any]:
    """What both SDKs make of a call of the same handler with the same steps behind it."""
    theirs = OfficialApp(handler).call(body(steps))
    mine = ours_called(handler, **body(steps))
    return [theirs.json(), json.loads(mine.body)]


def ops(*answers: Any) -> list[list[tuple[str, str]]]:
    return [[(op["op"], op["id"]) for op in ops] for ops in answers]


async def give(value: Any) -> Any:
    return value


@line("names")
def _() -> None:
    assert [name for name in inngest.__all__ if not hasattr(ours, name)] == []


@line("ids")
def _() -> None:
    settings: dict[str, Any] = {"fn_id": "place-order", "on_failure": give}
    theirs, mine = (
        sdk.Inngest(app_id="shop", is_production=False).create_function(
            trigger=sdk.TriggerEvent(event="a/b"), **settings
        )(give)
        for sdk in (inngest, ours)
    )
    assert mine.id == mine.get_id() == theirs.id == "shop-place-order"
    assert mine.on_failure_fn_id == theirs.on_failure_fn_id == "shop-place-order-failure"


@line("steps")
def _() -> None:
    async def twice(ctx: Any) -> list[int]:
        return [await ctx.step.run("a", give, n) for n in (1, 2, 3)]

    steps = {sha1("a"): {"data": 1}, sha1("a:1"): {"data": 2}}
    theirs, mine = ops(*there_and_here(twice, steps))
    assert theirs == mine == [("StepRun", sha1("a:2"))]


@line("milliseconds")
def _() -> None:
    async def nap(ctx: Any) -> None:
        await ctx.step.sleep("nap", 1000)

    [op] = define(nap).ops()
    assert op["opts"] == {"duration": "1s"}


@line("`ctx.logger`")
def _() -> None:
    for sdk in ("official", "ours"):
        heard: list[str] = []
        logger = Recorder(heard)

        async def say(ctx: Any) -> None:
            ctx.logger.info("first")
            await ctx.step.run("a", give, 1)
            ctx.logger.info("second")
            await ctx.step.run("b", give, 2)

        for steps in ({}, {sha1("a"): {"data": 1}}):
            if sdk == "official":
                OfficialApp(say, {"logger": logger}).call(body(steps))
            else:
                client = app(logger=logger, checkpointing=False)
                ours_called(say, client=client, **body(steps))
        assert heard == ["first", "second"], sdk


class Recorder:
    """A logger that remembers what was said at the level `info`."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def info(self, text: str, *args: object) -> None:
        self._heard.append(text)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


class Model(pydantic.BaseModel):
    day: date


@line("`PydanticSerializer`, `output_type`")
def _() -> None:
    value = Model(day=date(2030, 1, 31))
    for serializer in (ours.PydanticSerializer(), inngest.PydanticSerializer()):
        plain = serializer.serialize(value, Model)
        assert plain == {"day": "2030-01-31"}
        assert serializer.deserialize(plain, Model) == value


HOOKS = [
    "transform_input",
    "before_execution",
    "after_execution",
    "transform_output",
    "before_response",
    "before_send_events",
    "after_send_events",
]


def hooks_heard(sdk: Any, call: Callable[[list[Any]], object]) -> list[str]:
    """What two classes of middleware hear of a call: a hook's name, and whose it is."""
    heard: list[str] = []

    def hook(text: str) -> Callable[..., None]:
        return lambda self, *args: heard.append(text)

    def middleware(name: str) -> Any:
        return type(name, (sdk.MiddlewareSync,), {each: hook(f"{each} {name}") for each in HOOKS})

    call([middleware("A"), middleware("B")])
    return heard


@line("middleware")
def _() -> None:
    async def one(ctx: Any) -> None:
        await ctx.step.run("a", give, 1)

    def here(classes: list[Any]) -> Response:
        client = app(middleware=classes, checkpointing=False)
        return ours_called(one, client=client, **body())

    theirs = hooks_heard(
        inngest, lambda classes: OfficialApp(one, {"middleware": classes}).call(body())
    )
    assert hooks_heard(ours, here) == theirs
    assert theirs[:2] == ["transform_input A", "transform_input B"]


@line("[steps in a row](checkpoints.md)")
def _() -> None:
    async def two(ctx: Any) -> Any:
        return await ctx.step.run("b", give, await ctx.step.run("a", give, 1))

    assert len(OfficialApp(two).call(body()).json()) == 1
    posted: list[Any] = []

    async def checkpoint(request: WebRequest) -> JSONResponse:
        posted.extend((await request.json())["steps"])
        return JSONResponse({})

    async def call() -> httpx.Response:
        route = Route("/v1/checkpoint/{run}/async", checkpoint, methods=["POST"])
        async with serving(Starlette(routes=[route])) as server:
            client = ours.Inngest(app_id="shop", is_production=False, api_base_url=server)
            client.create_function(fn_id="f", trigger=ours.TriggerEvent(event="a/b"))(two)
            transport = httpx.ASGITransport(asgi.serve(client))
            async with httpx.AsyncClient(transport=transport) as http:
                url = "http://app/?fnId=shop-f&stepId=step"
                return await http.post(url, json=body(qi_id="q"))

    answer = asyncio.run(call()).json()
    assert [op["op"] for op in posted] == ["StepRun", "StepRun"]
    assert answer == 1


@line("[`asyncio.gather`](parallel.md) over steps")
def _() -> None:
    ran: list[int] = []

    async def count(n: int) -> int:
        ran.append(n)
        return n

    async def gather(ctx: Any) -> Any:
        return await asyncio.gather(*(ctx.step.run(str(n), count, n) for n in range(3)))

    steps: dict[str, Any] = {}
    while isinstance(answer := OfficialApp(gather).call(body(steps)).json()[0], dict):
        steps[answer["id"]] = {"data": answer["data"]}
    assert len(ran) > 3
    ran.clear()
    assert define(gather, app(checkpointing=False)).finish() == [0, 1, 2]
    assert sorted(ran) == [0, 1, 2]


@line("`NonRetriableError` in a step")
def _() -> None:
    def guarded(sdk: Any) -> Callable[[Any], Any]:
        async def refuse() -> None:
            raise sdk.NonRetriableError("never")

        async def function(ctx: Any) -> str:
            try:
                await ctx.step.run("a", refuse)
            except Exception as error:
                return type(error).__name__
            return "nothing"

        return function

    assert OfficialApp(guarded(inngest)).call(body()).json() == "NonRetriableError"
    played = define(guarded(ours), app(checkpointing=False))
    assert played.finish() == "StepError"
    assert [status for _, status in played.calls] == [206, 200]


@line("`RetryAfterError` in a step")
def _() -> None:
    def busy(sdk: Any) -> Callable[[Any], Any]:
        async def later() -> None:
            raise sdk.RetryAfterError("later", 90_000)

        async def function(ctx: Any) -> None:
            await ctx.step.run("a", later)

        return function

    theirs = OfficialApp(busy(inngest)).call(body())
    assert (theirs.status_code, theirs.json()["name"]) == (500, "RetryAfterError")
    mine = ours_called(busy(ours))
    assert (mine.status, mine.headers["retry-after"]) == (206, "90")
    assert [op["op"] for op in json.loads(mine.body)] == ["StepError"]


@line("results of steps")
def _() -> None:
    async def make() -> Model:
        return Model(day=date(2030, 1, 31))

    async def function(ctx: Any) -> str:
        return type((await ctx.step.run("a", make)).day).__name__

    theirs = OfficialApp(function).call(body())
    assert (theirs.status_code, theirs.json()["name"]) == (500, "OutputUnserializableError")
    assert define(function, app(checkpointing=False)).finish() == "date"


@line("events")
def _() -> None:
    async def fields(ctx: Any) -> list[Any]:
        return [getattr(ctx.event, name, None) for name in ("user", "v")]

    assert there_and_here(fields, {}) == [[None, None], [{"email": "a@b"}, "2"]]


@line("`step.run`")
def _() -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    async def function(ctx: Any) -> int:
        total: int = await ctx.step.run("a", add, 1, b=2)
        return total

    theirs, mine = there_and_here(function, {})
    assert theirs["name"] == "TypeError"
    assert mine[0]["data"] == 3


@line("sleeps")
def _() -> None:
    async def nap(ctx: Any) -> None:
        await ctx.step.sleep("nap", timedelta(hours=1))

    [theirs], [mine] = there_and_here(nap, {})
    assert theirs["name"].startswith("20")  # a date
    assert mine["opts"] == {"duration": "1h"}


@line("input of a step that you edited for a rerun")
def _() -> None:
    async def function(ctx: Any) -> Any:
        return await ctx.step.run("a", give, 1)

    theirs, mine = there_and_here(function, {sha1("a"): {"input": [5]}})
    assert theirs == {"input": [5]}
    assert [(op["op"], op["data"]) for op in mine] == [("StepRun", 5)]


@line("calling a step that is no longer there")
def _() -> None:
    async def function(ctx: Any) -> Any:
        return await ctx.step.run("a", give, 1)

    gone = sha1("gone")
    theirs = OfficialApp(function).call(body(disable_immediate_execution=True), gone).json()
    assert gone not in json.dumps(theirs)
    assert '"a"' in theirs["message"]
    mine = json.loads(ours_called(function, step=gone, planning=True).body)
    assert mine["requestedStep"] == gone
    assert mine["foundSteps"]


KEY = "signkey-prod-ab12"


def signed_answers(signing_key: str, seconds_ago: int, *, is_production: bool) -> list[int]:
    """The status with which both answer a call that was signed so, so long ago."""

    async def function(ctx: Any) -> int:
        return 1

    settings = {"is_production": is_production, "signing_key": KEY}
    sent = json.dumps(body(), separators=(",", ":"), sort_keys=True).encode()
    headers = {"x-inngest-signature": signing.sign(signing_key, sent, int(NOW) - seconds_ago)}
    query = "?fnId=shop-f&stepId=step"
    theirs = OfficialApp(function, settings).request("POST", query, content=sent, headers=headers)
    client = ours.Inngest(app_id="shop", **settings)  # type: ignore[arg-type]  # what they are
    client.create_function(fn_id="f", trigger=ours.TriggerEvent(event="a/b"))(function)
    request = Request("POST", f"http://app/{query}", headers, sent)
    return [theirs.status_code, drive(serve(client, request, FRONT, now=NOW)).status]


@line("an old call, signed")
def _() -> None:
    assert signed_answers(KEY, 299, is_production=True)[1] == 200
    assert signed_answers(KEY, 301, is_production=True) == [200, 401]


@line("a call with a wrong signature, in development")
def _() -> None:
    assert signed_answers("ff00", 0, is_production=False) == [200, 401]


@line("failed registration")
def _() -> None:
    async def refuse(request: WebRequest) -> JSONResponse:
        return JSONResponse({"error": "no such app"}, 403)

    async def put(make: Callable[[str], Awaitable[httpx.Response]]) -> httpx.Response:
        route = Route("/fn/register", refuse, methods=["POST"])
        async with serving(Starlette(routes=[route])) as server:
            return await make(server)

    async def theirs(server: str) -> httpx.Response:
        return await OfficialApp(give, {"api_base_url": server}).answer("PUT", "", {})

    async def mine(server: str) -> httpx.Response:
        client = ours.Inngest(app_id="shop", is_production=False, api_base_url=server)
        transport = httpx.ASGITransport(asgi.serve(client))
        async with httpx.AsyncClient(transport=transport) as http:
            return await http.put("http://app/")

    assert asyncio.run(put(theirs)).status_code == 200
    answer = asyncio.run(put(mine))
    assert answer.status_code == 403
    assert "no such app" in answer.text


@line("options out of bounds")
def _() -> None:
    inngest.Throttle(limit=0, period=timedelta(0))
    inngest.TriggerCron(cron="never")
    with pytest.raises(ours.FunctionConfigInvalidError, match="limit"):
        ours.Throttle(limit=0, period=timedelta(0))
    with pytest.raises(ours.FunctionConfigInvalidError, match="cron"):
        ours.TriggerCron(cron="never")


@line("the import")
def _() -> None:
    def loaded_by(module: str) -> set[str]:
        code = f"import sys, {module}; print(*sys.modules)"
        return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())

    assert {"pydantic", "httpx"} <= loaded_by("inngest")
    assert not {"pydantic", "httpx"} & loaded_by("inngest_serverless")


@line("[hooks around steps](middleware.md)")
def _() -> None:
    for hook in ("on_step_start", "wrap_step"):
        assert hasattr(ours.MiddlewareSync, hook)
        assert not hasattr(inngest.MiddlewareSync, hook)
    heard: list[str] = []

    class Heard(ours.Middleware):
        async def on_step_start(self, step: ours.StepInfo) -> None:
            heard.append(step.id)

    async def one(ctx: Any) -> None:
        await ctx.step.run("a", give, 1)

    ours_called(one, client=app(middleware=[Heard]))
    assert heard == ["a"]


@line("[streaming](serving.md#slow-answers)")
def _() -> None:
    def slow(ctx: Any) -> int:
        return 1

    async def function(ctx: Any) -> int:
        return 1

    async def call(handler: Callable[[Any], Any]) -> int:
        client = app(streaming=ours.Streaming.FORCE)
        client.create_function(fn_id="f", trigger=ours.TriggerEvent(event="a/b"))(handler)
        transport = httpx.ASGITransport(asgi.serve(client))
        async with httpx.AsyncClient(transport=transport) as http:
            answer = await http.post("http://app/?fnId=shop-f&stepId=step", json=body())
            return answer.status_code

    both = (slow, function)
    theirs = [OfficialApp(each, streaming=inngest.Streaming.FORCE) for each in both]
    assert [each.call(body()).status_code for each in theirs] == [200, 201]
    assert [asyncio.run(call(each)) for each in both] == [201, 201]


def absent(*modules: str) -> None:
    """There are such modules in the official SDK, and none here."""
    for module in modules:
        assert importlib.util.find_spec(module), module
        name = module.removeprefix("inngest.").split(".")[0]
        assert importlib.util.find_spec(f"inngest_serverless.{name}") is None


@line("`inngest.connect`")
def _() -> None:
    absent("inngest.connect")


@line("`inngest.flask`, `inngest.django`, `inngest.tornado`, `inngest.digital_ocean`")
def _() -> None:
    absent("inngest.flask", "inngest.django", "inngest.tornado", "inngest.digital_ocean")
    assert callable(asgi.serve)
    assert callable(aws.serve)


def reached(handler: Callable[[Any], Any]) -> Any:
    """What a function finds on its context, as text."""
    return define(handler, app(checkpointing=False)).finish()


@line("`inngest.experimental.ai`")
def _() -> None:
    absent("inngest.experimental.ai")

    async def function(ctx: Any) -> str:
        return type(ctx.step.ai).__name__

    assert reached(function) == "AI"


@line("`inngest.experimental.realtime`")
def _() -> None:
    absent("inngest.experimental.realtime")

    async def function(ctx: Any) -> str:
        return type(ctx.step.realtime).__name__

    assert reached(function) == "Realtime"
    assert callable(app().publish)
    assert callable(app().subscription_token)


@line("`inngest.experimental.dev_server`")
def _() -> None:
    absent("inngest.experimental.dev_server")
    assert import_module("inngest_serverless.cli.dev")


@line("`inngest.experimental.mocked`")
def _() -> None:
    absent("inngest.experimental.mocked")
    assert "\n## Moving tests\n" in (DOCS / "migrate.md").read_text(encoding="utf-8")


@line("`inngest.experimental.remote_state_middleware`")
def _() -> None:
    absent("inngest.experimental.remote_state_middleware")
    assert {"Folder", "Offload", "S3"} <= vars(offload).keys()


@line("`inngest.experimental.sentry_middleware`")
def _() -> None:
    absent("inngest.experimental.remote_state_middleware", "inngest.experimental.sentry_middleware")


@line("`public_path` and `enable_unauthed_sync` of `serve`")
def _() -> None:
    import inspect

    assert {"public_path", "enable_unauthed_sync"} <= {
        *inspect.signature(import_module("inngest.fast_api").serve).parameters
    }
    mine = set(inspect.signature(asgi.serve).parameters)
    assert "serve_path" in mine
    assert not {"public_path", "enable_unauthed_sync"} & mine


@line("`INNGEST_THREAD_POOL_MAX_WORKERS`, `INNGEST_ENABLE_UNAUTHED_SYNC` and those of Connect")
def _() -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")  # lists all that are read
    for name in ("THREAD_POOL_MAX_WORKERS", "ENABLE_UNAUTHED_SYNC", "CONNECT"):
        assert f"INNGEST_{name}" not in reference


@line("`event.to_dict()`, and `Event` is a pydantic model")
def _() -> None:
    assert isinstance(inngest.Event(name="a/b"), pydantic.BaseModel)
    assert not hasattr(ours.Event(name="a/b"), "to_dict")
    assert ours.Event(name="a/b", data={"n": 1}).to_json() == {"name": "a/b", "data": {"n": 1}}
    wrong: Any = "no number"
    with pytest.raises(Exception, match="ts"):
        inngest.Event(name="a/b", ts=wrong)
    assert ours.Event(name="a/b", ts=wrong).ts == wrong


@line("`result.step.op` is an enum")
def _() -> None:
    seen: list[Any] = []

    def transform_output(self: Any, result: Any) -> None:
        if result.step is not None:
            seen.append(result.step.op)

    async def one(ctx: Any) -> None:
        await ctx.step.run("a", give, 1)

    hook = {"transform_output": transform_output}
    OfficialApp(one, {"middleware": [type("M", (inngest.MiddlewareSync,), hook)]}).call(body())
    ours_called(one, client=app(middleware=[type("M", (ours.MiddlewareSync,), hook)]))
    assert [seen[0].value, seen[1]] == ["StepRun", "StepRun"]
    assert seen[0] != "StepRun"


@line("a step within a step fails with CodedError")
def _() -> None:
    async def outer(ctx: Any) -> None:
        async def inner() -> Any:
            return await ctx.step.run("in", give, 1)

        await ctx.step.run("out", inner)

    names = [answer[0]["error"]["name"] for answer in there_and_here(outer, {})]
    assert names == ["CodedError", "StepNestedError"]


@line("a tuple is a list when the step is replayed")
def _() -> None:
    async def pair() -> tuple[int, int]:
        return 1, 2

    async def function(ctx: Any) -> str:
        return type(await ctx.step.run("a", pair)).__name__

    assert there_and_here(function, {sha1("a"): {"data": [1, 2]}}) == ["list", "tuple"]


@line("a number without a fraction may come back as int")
def _() -> None:
    async def half() -> float:
        return 1.0

    async def function(ctx: Any) -> str:
        return type(await ctx.step.run("a", half)).__name__

    assert there_and_here(function, {sha1("a"): {"data": 1}}) == ["int", "float"]


@line("the name of the SDK on the server")
def _() -> None:
    theirs = OfficialApp(give).request("GET").headers["x-inngest-sdk"]
    mine = drive(serve(app(), Request("GET", "http://app/", {}), FRONT, now=NOW))
    assert theirs.startswith("inngest-py:v")
    assert mine.headers["x-inngest-sdk"].startswith("inngest-serverless:v")


@line("a week is registered as `1w`")
def _() -> None:
    assert ours.Timeouts(finish=timedelta(weeks=1)).to_wire() == {"finish": "168h"}
