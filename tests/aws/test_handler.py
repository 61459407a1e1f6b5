"""The Lambda handler from event to answer, through every front door."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from inngest_sdk.client import Inngest
from inngest_sdk.function import TriggerEvent
from inngest_sdk.http import Request
from inngest_serverless import Checkpointing, ContextSync, MiddlewareSync, Streaming, aws
from inngest_serverless.aws import http_event as aws_event
from inngest_serverless.aws.entrypoint import Served, _answer, prepare
from inngest_serverless.aws.environment import Environment

Event: TypeAlias = dict[str, Any]
Ask: TypeAlias = Callable[..., Event]
Load: TypeAlias = Callable[[str], Event]

UNREACHABLE = "http://127.0.0.1:1"

ON_LAMBDA = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_REGION": "eu-central-1"}
OURS = {**ON_LAMBDA, "_HANDLER": "inngest_serverless.aws.handler"}


def shop(**options: Any) -> Inngest:
    settings = {"app_id": "shop", "is_production": False, "api_base_url": UNREACHABLE, **options}
    client = Inngest(**settings)

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
    def order(ctx: Any) -> object:
        return {"paid": ctx.event.data["total"]}

    @client.create_function(fn_id="async", trigger=TriggerEvent(event="shop/async"))
    async def async_order(ctx: Any) -> object:
        return {"paid": ctx.event.data["total"]}

    @client.create_function(fn_id="huge", trigger=TriggerEvent(event="shop/huge"))
    def huge(ctx: Any) -> object:
        return ctx.event.data["text"] * int(ctx.event.data["times"])

    return client


HANDLER = aws.serve(shop())


def call(data: object, name: str = "shop/order.placed") -> str:
    return json.dumps(
        {
            "event": {"id": "01JCX4V1W7", "name": name, "data": data, "ts": 1763800000000},
            "events": [],
            "steps": {},
            "ctx": {
                "run_id": "01JCX4V1W7Q3N5S8",
                "attempt": 0,
                "stack": {"stack": [], "current": 0},
            },
        },
        ensure_ascii=False,
    )


def header(answer: Event, name: str) -> str | None:
    values = answer.get("multiValueHeaders", {}).get(name)
    value: str | None = values[0] if values else answer.get("headers", {}).get(name)
    return value


def said(answer: Event) -> Any:
    assert answer["isBase64Encoded"] is False
    return json.loads(answer["body"])


def test_a_get_describes_the_app(front_door_name: str, ask: Ask) -> None:
    answer = HANDLER(ask(front_door_name, "GET"), None)
    assert answer["statusCode"] == 200
    assert said(answer)["function_count"] == 3
    assert header(answer, "x-inngest-sdk")
    assert header(answer, "x-inngest-framework") == "aws-lambda"


class Hurried:
    """A context of a call that is about to be killed."""

    def get_remaining_time_in_millis(self) -> int:
        return 400


def test_steps_are_planned_when_lambda_leaves_no_time_for_them(
    front_door_name: str, ask: Ask
) -> None:
    ran: list[str] = []
    client = shop(checkpointing=Checkpointing(buffered_steps=9))

    @client.create_function(fn_id="steps", trigger=TriggerEvent(event="shop/steps"))
    def steps(ctx: ContextSync) -> None:
        for name in ("first", "second"):
            ctx.step.run(name, ran.append, name)

    body = json.loads(call({}))
    body["ctx"] |= {"fn_id": "f", "qi_id": "q"}
    event = ask(front_door_name, "POST", "fnId=shop-steps&stepId=step", json.dumps(body))
    # There is no server to post the first step to, so that is what the answer tells.
    assert [op["displayName"] for op in said(aws.serve(client)(event, Hurried()))] == ["first"]
    assert ran == ["first"]


def test_the_url_that_a_get_names_is_the_public_one(ask: Ask) -> None:
    answer = HANDLER(ask("rest_api", "GET"), None)
    assert said(answer)["extra"]["request_url"] == (
        "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/prod/api/inngest"
    )


def test_a_load_balancers_health_check_passes(load: Load) -> None:
    handler = aws.serve(shop(is_production=True, signing_key="signkey-test-" + "ab" * 16))
    assert handler(load("alb_health_check"), None)["statusCode"] == 200


def test_a_call_runs_its_function(front_door_name: str, ask: Ask) -> None:
    event = ask(front_door_name, "POST", "fnId=shop-order&stepId=step", call({"total": "9,90 €"}))
    answer = HANDLER(event, None)
    assert (answer["statusCode"], said(answer)) == (200, {"paid": "9,90 €"})
    assert header(answer, "x-inngest-req-version") == "2"


def test_an_async_function_runs_in_each_of_many_calls(ask: Ask) -> None:
    event = ask("function_url", "POST", "fnId=shop-async&stepId=step", call({"total": 1}))
    assert [said(HANDLER(event, None)) for _ in range(3)] == [{"paid": 1}] * 3


def test_a_call_of_an_unknown_function_names_those_there_are(
    front_door_name: str, ask: Ask
) -> None:
    answer = HANDLER(ask(front_door_name, "POST", "fnId=shop-refund&stepId=step", call({})), None)
    assert answer["statusCode"] == 404
    assert "shop-refund" in said(answer)["message"]
    assert "shop-order" in said(answer)["message"]


@pytest.mark.parametrize("body", [None, "", "{", "[]", "null", "{}", '{"ctx": 7}'])
def test_a_body_that_is_no_call_is_the_callers_fault(
    body: str | None, front_door_name: str, ask: Ask
) -> None:
    answer = HANDLER(ask(front_door_name, "POST", "fnId=shop-order&stepId=step", body), None)
    assert answer["statusCode"] == 400
    assert said(answer)["message"]
    assert header(answer, "x-inngest-sdk")


def test_a_body_that_is_not_base64_is_the_callers_fault(ask: Ask) -> None:
    event = ask("function_url", "POST", "fnId=shop-order&stepId=step", "{}")
    answer = HANDLER(event | {"isBase64Encoded": True}, None)
    assert answer["statusCode"] == 400
    assert said(answer)["message"].startswith("the event's body is not base64")
    assert header(answer, "x-inngest-sdk")


def test_a_call_without_a_query_is_the_callers_fault(front_door_name: str, ask: Ask) -> None:
    answer = HANDLER(ask(front_door_name, "POST", "", call({})), None)
    assert answer["statusCode"] == 400
    assert "fnId" in said(answer)["message"]


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "patch", ""])
def test_another_method_is_not_allowed(method: str, ask: Ask) -> None:
    assert HANDLER(ask("http_api", method), None)["statusCode"] == 405


def test_a_sync_to_a_server_that_is_not_there_fails_readably(
    front_door_name: str, ask: Ask
) -> None:
    answer = HANDLER(ask(front_door_name, "PUT"), None)
    assert answer["statusCode"] >= 500
    assert UNREACHABLE in said(answer)["message"]


def test_an_unsigned_call_in_cloud_mode_is_refused(front_door_name: str, ask: Ask) -> None:
    handler = aws.serve(shop(is_production=True, signing_key="signkey-test-" + "ab" * 16))
    event = ask(front_door_name, "POST", "fnId=shop-order&stepId=step", call({"total": 1}))
    assert handler(event, None)["statusCode"] == 401


def test_a_body_of_four_megabytes_is_taken(ask: Ask) -> None:
    event = ask("http_api", "POST", "fnId=shop-order&stepId=step", call({"total": "x" * 4_000_000}))
    assert HANDLER(event, None)["statusCode"] == 200


@pytest.mark.parametrize(
    ("front_door", "text", "times", "limit"),
    [
        ("function_url", "x", 6_400_000, "AWS Lambda"),
        # Each quote in the answer takes four bytes in the end, a letter beyond ASCII six.
        ("function_url", '"', 2_000_000, "AWS Lambda"),
        ("rest_api", "é", 1_100_000, "AWS Lambda"),
        ("alb", "x", 1_000_001, "the load balancer"),
        ("alb_multi_value", '"', 300_000, "the load balancer"),
    ],
)
def test_an_answer_over_the_limit_becomes_an_error_that_names_it(
    front_door: str, text: str, times: int, limit: str, ask: Ask
) -> None:
    data = {"text": text, "times": times}
    event = ask(front_door, "POST", "fnId=shop-huge&stepId=step", call(data, "shop/huge"))
    answer = HANDLER(event, None)
    assert answer["statusCode"] == 500
    assert limit in said(answer)["message"]
    assert header(answer, "x-inngest-no-retry") == "true"


@pytest.mark.parametrize(
    ("front_door", "text", "times"),
    [("function_url", "x", 4_100_000), ("function_url", '"', 1_000_000), ("alb", "x", 990_000)],
)
def test_an_answer_within_the_limit_passes(
    front_door: str, text: str, times: int, ask: Ask
) -> None:
    data = {"text": text, "times": times}
    event = ask(front_door, "POST", "fnId=shop-huge&stepId=step", call(data, "shop/huge"))
    answer = HANDLER(event, None)
    assert (answer["statusCode"], len(said(answer))) == (200, times)


@pytest.mark.parametrize("name", ["sns", "websocket"])
def test_what_is_no_http_is_acknowledged_and_logged(
    name: str, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    answer = HANDLER(load(name), None)
    assert answer["ok"] is True
    assert answer["ignored"].endswith(": not an HTTP event")
    assert "ignored" in caplog.text


@pytest.mark.parametrize(
    "event",
    [
        {"source": "serverless-plugin-warmup"},
        {"warmer": True, "concurrency": 3},
        {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}},
        {"source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}"},
    ],
)
def test_a_warmer_is_answered_without_the_app(
    event: Event, caplog: pytest.LogCaptureFixture
) -> None:
    def no_app() -> Inngest:
        raise AssertionError("a warmer needs no app")

    assert _answer(Served(no_app, Environment()), event, None) == {"ok": True, "warm": True}
    assert caplog.text == ""


def test_a_schedule_goes_to_the_bridge_where_there_is_one(load: Load) -> None:
    handler = aws.serve(shop(), forward=lambda event, context: {"forwarded": event["id"]})
    assert handler(load("eventbridge"), None) == {"forwarded": load("eventbridge")["id"]}
    assert handler({"warmer": True}, None) == {"ok": True, "warm": True}


def test_middleware_sees_the_tenant_that_lambda_names(ask: Ask) -> None:
    seen = []

    class Tenancy(MiddlewareSync):
        def before_execution(self) -> None:
            assert isinstance(self.raw_request, Request)
            seen.append(self.raw_request.headers[aws_event.TENANT_HEADER])

    class Context:
        tenant_id = "acme"

    event = ask("rest_api", "POST", "fnId=shop-order&stepId=step", call({"total": 1}))
    assert aws.serve(shop(middleware=[Tenancy]))(event, Context())["statusCode"] == 200
    assert seen == ["acme"]


def test_force_where_no_runtime_can_stream_is_an_error(front_door_name: str, ask: Ask) -> None:
    handler = aws.serve(shop(), streaming=Streaming.FORCE)
    event = ask(front_door_name, "POST", "fnId=shop-order&stepId=step", call({"total": 1}))
    answer = handler(event, None)
    assert answer["statusCode"] == 500
    assert "this platform (aws-lambda) cannot stream" in said(answer)["message"]


def test_many_threads_may_call_one_handler(ask: Ask) -> None:
    events = [
        ask("function_url", "POST", f"fnId=shop-{name}&stepId=step", call({"total": number}))
        for number in range(40)
        for name in ("order", "async")
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda event: HANDLER(event, None), events))
    assert [said(answer)["paid"] for answer in answers] == [n // 2 for n in range(80)]


@pytest.mark.parametrize("event", [None, {}, [], "x", 7, {"inngest": 7}])
def test_a_stray_invocation_does_no_harm(event: object) -> None:
    assert HANDLER(event, None)["ok"] is True


def test_a_handler_can_be_wrapped_and_the_context_is_lambdas_own(ask: Ask) -> None:
    seen = []

    def watched(handler: Callable[[Any, Any], Event]) -> Callable[[Any, Any], Event]:
        @functools.wraps(handler)
        def wrapper(event: Any, context: Any) -> Event:
            seen.append(context)
            return handler(event, context)

        return wrapper

    context = object()
    assert watched(aws.serve(shop()))(ask("alb", "GET"), context)["statusCode"] == 200
    assert seen == [context]


A_GET: Event = {"httpMethod": "GET", "path": "/api/inngest"}


def test_a_fault_of_ours_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    answer = _answer(Served(lambda: cast(Inngest, object()), Environment()), A_GET, None)
    assert answer["statusCode"] == 500
    assert said(answer)["message"] == (
        "the Lambda entrypoint failed with AttributeError; see the function's log"
    )
    assert header(answer, "x-inngest-sdk")
    assert header(answer, "x-inngest-no-retry") == "false"
    assert "Traceback" in caplog.text


def test_the_end_of_the_process_is_not_answered() -> None:
    def interrupted() -> Inngest:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _answer(Served(interrupted, Environment()), A_GET, None)


def test_the_handler_reads_its_setting_when_first_called(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNGEST_APP", "no_such_module:client")
    answer = aws.handler(A_GET, None)
    assert answer["statusCode"] == 500
    assert "there is no module 'no_such_module'" in said(answer)["message"]
    assert "the Inngest app could not be loaded" in caplog.text


def test_what_fails_while_lambda_starts_is_logged_and_not_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {**OURS, "INNGEST_APP": "no_such_start:client"}.items():
        monkeypatch.setenv(name, value)
    prepare()
    assert "there is no module 'no_such_start'" in caplog.text


@pytest.mark.parametrize(
    ("name", "serve_path", "warned"),
    [
        ("http_api_custom_domain", None, True),
        ("http_api_custom_domain", "/shop/api/inngest", False),
        ("http_api", None, False),
        ("function_url_local", None, False),
        ("rest_api_custom_domain", None, False),
        ("alb", None, False),
    ],
)
def test_a_sync_under_a_path_that_may_be_wrong_is_warned_of(
    name: str, serve_path: str | None, warned: bool, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    aws.serve(shop(), serve_path=serve_path)(ask(name, "PUT"), None)
    assert ("set INNGEST_SERVE_PATH" in caplog.text) is warned


@pytest.mark.parametrize(
    ("execution_env", "escapes"),
    [
        ("AWS_Lambda_python3.10", True),
        ("AWS_Lambda_python3.11", True),
        ("AWS_Lambda_python3.12", False),
        ("AWS_Lambda_python3.14", False),
        ("AWS_Lambda_nodejs22.x", True),
        ("AWS_Lambda_Image", True),
        ("", True),
    ],
)
def test_newer_runtimes_write_answers_as_utf8(execution_env: str, escapes: bool) -> None:
    environment = Environment.from_env({"AWS_EXECUTION_ENV": execution_env})
    assert environment.escapes_unicode is escapes


def test_what_the_runtime_escapes_decides_what_fits(ask: Ask) -> None:
    data = {"text": "é", "times": 1_100_000}
    event = ask("rest_api", "POST", "fnId=shop-huge&stepId=step", call(data, "shop/huge"))
    for escapes_unicode, status in [(True, 500), (False, 200)]:
        environment = Environment(escapes_unicode=escapes_unicode)
        answer = _answer(Served(shop, environment), event, None)
        assert answer["statusCode"] == status


# --- the module-level handler, in a process of its own, as Lambda starts it -----------------------

APP = """
from inngest_sdk.client import Inngest
client = Inngest(app_id="shop", is_production=False)
"""


def run(directory: Path, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that can import what is in the directory."""
    inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "SYSTEMROOT")}
    paths = os.pathsep.join([str(directory), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def answer_of(process: subprocess.CompletedProcess[str]) -> Event:
    assert process.returncode == 0, process.stderr
    answer: Event = json.loads(process.stdout)
    return answer


ANSWER_A_GET = f"""
import json
from inngest_serverless.aws import handler
print(json.dumps(handler({A_GET!r}, None)))
"""


def test_the_handler_finds_the_app_that_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "orders_app.py").write_text(APP)
    answer = answer_of(run(tmp_path, ANSWER_A_GET, INNGEST_APP="orders_app:client", **ON_LAMBDA))
    assert answer["statusCode"] == 200
    assert header(answer, "x-inngest-platform") == "aws-eu-central-1"


@pytest.mark.parametrize(
    ("environ", "at_import"),
    [
        (OURS, True),
        ({**OURS, "_HANDLER": "inngest_serverless/aws.handler"}, True),
        # A wrapper's module, or the app's own, which is perhaps being imported just now.
        ({**ON_LAMBDA, "_HANDLER": "orders_app.handler"}, False),
        ({}, False),
    ],
)
def test_the_app_is_loaded_early_only_where_lambda_starts_with_our_handler(
    environ: dict[str, str], at_import: bool, tmp_path: Path
) -> None:
    (tmp_path / "orders_app.py").write_text(APP)
    code = "import sys, inngest_serverless.aws; print('orders_app' in sys.modules)"
    process = run(tmp_path, code, INNGEST_APP="orders_app:client", **environ)
    assert process.stdout.strip() == str(at_import), process.stderr


def test_an_app_that_makes_its_own_handler_may_be_named_too(tmp_path: Path) -> None:
    source = f"from inngest_serverless import aws\n{APP}\nhandler = aws.serve(client)\n"
    (tmp_path / "orders_app.py").write_text(source)
    code = f"import json, orders_app; print(json.dumps(orders_app.handler({A_GET!r}, None)))"
    environ = {**ON_LAMBDA, "_HANDLER": "orders_app.handler", "INNGEST_APP": "orders_app:client"}
    assert answer_of(run(tmp_path, code, **environ))["statusCode"] == 200


@pytest.mark.parametrize("environ", [OURS, ON_LAMBDA, {}])
@pytest.mark.parametrize(
    ("source", "app", "message"),
    [
        ("import no_such_thing", "orders_app:client", "No module named 'no_such_thing'"),
        ("def client(:", "orders_app:client", "SyntaxError"),
        (APP, "orders_app:clint", "its Inngest clients are: client"),
        (APP, "orders_app.client", "not of the form module:attribute"),
        (APP, "", "no Inngest client was found: INNGEST_APP is not set"),
        ("raise SystemExit(3)", "orders_app:client", "exit code 3"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_explained_to_the_caller_and_in_the_log(
    environ: dict[str, str], source: str, app: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "orders_app.py").write_text(source)
    process = run(tmp_path, ANSWER_A_GET, INNGEST_APP=app, **environ)
    answer = answer_of(process)
    assert answer["statusCode"] == 500
    assert message in said(answer)["message"]
    assert header(answer, "x-inngest-sdk")
    assert header(answer, "x-inngest-no-retry") == "false"
    assert "the Inngest app could not be loaded" in process.stderr
    assert "Traceback" in process.stderr


def test_the_text_of_an_apps_own_error_is_in_the_log_only(tmp_path: Path) -> None:
    (tmp_path / "orders_app.py").write_text("raise OSError('postgres://user:hunter2@db')")
    process = run(tmp_path, ANSWER_A_GET, INNGEST_APP="orders_app:client", **OURS)
    assert "hunter2" not in process.stdout
    assert "it raised OSError" in said(answer_of(process))["message"]
    assert "hunter2" in process.stderr


def test_a_broken_app_does_not_break_events_that_are_no_http(tmp_path: Path) -> None:
    code = "from inngest_serverless.aws import handler; print(handler({'a': 1}, None)['ok'])"
    assert run(tmp_path, code, **OURS).stdout.strip() == "True"
