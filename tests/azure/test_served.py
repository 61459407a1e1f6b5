"""The app in Microsoft's runtime, behind a stand-in for Azure's host."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from inngest_sdk import signing
from inngest_serverless.emulators.local_function_app import (
    LOCAL_SCRIPT,
    FunctionAppConfig,
    LocalFunctionApp,
    WorkerFailed,
)
from inngest_serverless.engine.server import DevOptions, DevServer

from ..dev_process import Dev
from .running import APPS, STREAMING_APP, Running, call_body, running, target_of

KEY = "signkey-test-" + "ab" * 16
SIGNED = {"INNGEST_SIGNING_KEY": KEY, "INNGEST_EVENT_KEY": "event-key"}
SCRIPTS = [APPS / "function_app.py", STREAMING_APP]
HANDLERS = APPS.parents[1] / "emulators" / "handlers"
STEPS = 30


def test_a_get_describes_the_app(served: Running) -> None:
    said = served.ask("GET")
    assert (said.status_code, said.json()["function_count"]) == (200, 7)
    assert said.headers["content-type"] == "application/json"
    assert said.headers["x-inngest-framework"] == "azure-functions"
    assert said.headers["x-inngest-sdk"]


@pytest.mark.parametrize("fn_id", ["plain", "plain-sync"])
def test_a_call_runs_its_function(served: Running, fn_id: str) -> None:
    said = served.call(fn_id, {"total": "9,90 €"})
    assert (said.status_code, said.json()) == (200, {"total": "9,90 €"})


def test_a_function_that_blocks_does_not_block_the_worker(served: Running) -> None:
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(served.call, "wait")
        assert served.call("ring").status_code == 200
        assert waiting.result().json() is True


def test_other_functions_of_the_app_work_as_before(served: Running) -> None:
    assert served.ask("GET", "/api/hello/J%C3%BCrgen/now").text == "hello Jürgen"
    assert served.ask("GET", "/api/raise/it/now").status_code == 500
    served.wait_for("RuntimeError: this function fails")
    assert served.ask("GET", "/elsewhere").status_code == 404


def test_what_functions_print_is_shown(served: Running) -> None:
    served.call("order", {"id": "7", "total": 1})
    served.wait_for("order 7")


def test_a_large_call_arrives_whole(served: Running) -> None:
    data = {"text": "é" * 4_000_000}  # 8 MB
    assert served.call("plain", data).json() == data


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", target_of("refund"), call_body(), 404),
        ("POST", target_of("plain"), b"", 400),
        ("POST", target_of("plain"), b"{", 400),
        ("POST", target_of("plain"), b"\xff\x00", 400),
        ("POST", target_of("plain"), b"[" * 100_000, 400),
        ("POST", "/api/inngest", call_body(), 400),
        ("POST", "/api/inngest?fnId=%FF%00&stepId=%", call_body(), 404),
        ("POST", "/api/inngest?" + "a=b&" * 5000, call_body(), 400),
        ("PUT", "/api/inngest", b"", 502),
        ("DELETE", "/api/inngest", b"", 405),
        ("PATCH", "/api/inngest", b"{}", 405),
        ("POST", "/api/any/path/below?fnId=x&stepId=step", call_body(), 404),
    ],
)
@pytest.mark.parametrize("host", [None, "", "evil/@x", "[::", "x" * 5000, "ü.example"])
def test_what_cannot_be_answered_is_refused_readably(
    served: Running, host: str | None, method: str, target: str, body: bytes, status: int
) -> None:
    with closing(http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)) as line:
        line.putrequest(method, target, skip_host=host is not None)
        if host is not None:
            line.putheader("host", host.encode())
        line.putheader("content-length", str(len(body)))
        line.endheaders(body)
        said = line.getresponse()
        assert said.status == status
        assert said.headers["x-inngest-sdk"]
        assert b'"message"' in said.read()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_in_production_strangers_are_refused(runtime: None, script: Path) -> None:
    with running(script, environ=SIGNED) as app:
        assert app.call("plain").status_code == 401
        assert app.ask("GET").status_code == 401
        app.wait_for("inngest: refused a request: the request is not signed")
        body = call_body({"total": 1})
        signature = signing.sign(KEY, body, int(time.time()))
        headers = {"x-inngest-signature": signature, "x-inngest-server-kind": "cloud"}
        said = app.ask("POST", target_of("plain"), content=body, headers=headers)
        assert said.status_code in (200, 201)
        assert said.json() == {"total": 1} or said.json()["body"] == '{"total":1}'


def test_without_a_key_nothing_is_served_in_production(runtime: None) -> None:
    with running(environ={}) as app:
        assert app.call("plain").json()["code"] == "signing_key_missing"


def test_a_worker_that_ends_is_replaced(runtime: None) -> None:
    with running() as app:
        first = app.local.pid
        assert app.call("crash").status_code == 502
        app.wait_for("the worker's process ended with exit status 3")
        assert app.call("plain").status_code == 200
        assert app.local.pid != first


def test_a_call_past_the_load_balancers_limit_is_given_up(runtime: None) -> None:
    with running(answer_timeout=1.0) as app:
        assert app.call("wait").status_code == 504
        assert app.call("ring").status_code == 200


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("broken_app.py", "RuntimeError: this app is broken"),
        ("ending_app.py", "its process ended while it was imported"),
        ("missing_app.py", "there is no missing_app.py in"),
        ("shop.py", "Could not find top level function app instances"),
    ],
)
def test_an_app_that_cannot_be_loaded_says_why(runtime: None, script: str, reason: str) -> None:
    with pytest.raises(WorkerFailed, match=reason), running(APPS / script):
        pass


def test_a_prefix_of_host_json_counts(runtime: None, tmp_path: Path) -> None:
    script = tmp_path / "function_app.py"
    script.write_text("from inngest_serverless.azure import app")
    (tmp_path / "host.json").write_text('{"extensions": {"http": {"routePrefix": ""}}}')
    environ = {"INNGEST_DEV": "1", "INNGEST_APP": "shop:client"}
    with running(script, environ=environ) as app:
        assert app.ask("GET", "/inngest").status_code == 200
        assert app.ask("GET", "/api/inngest").status_code == 404


def test_an_app_that_is_not_found_is_said_in_the_answer(runtime: None) -> None:
    with running(LOCAL_SCRIPT, environ={"INNGEST_APP": "nowhere:client"}) as app:
        said = app.ask("GET")
        assert (said.status_code, said.headers["x-inngest-req-version"]) == (500, "2")
        assert "there is no module 'nowhere'" in said.json()["message"]


def test_the_key_in_the_url_is_registered_with_it(runtime: None) -> None:
    async def main() -> list[str]:
        options = DevOptions(port=0, discovery=False, poll_seconds=0)
        async with DevServer(options) as server:
            config = FunctionAppConfig(APPS, environment={"INNGEST_DEV": server.url})
            async with LocalFunctionApp(config, on_log=print) as local:
                url = f"{local.url}/api/inngest?code=sesame%3D&deployId=1"
                async with httpx.AsyncClient(trust_env=False) as client:
                    assert (await client.put(url)).status_code == 200
                port = urlsplit(local.url).port
                urls = [each.url for each in server.engine.apps()]
                return [each.replace(f":{port}", "") for each in urls]

    assert asyncio.run(main()) == ["http://localhost/api/inngest?code=sesame%3D"]


def test_a_function_longer_than_the_time_limit_ends_and_no_call_is_cut_off(runtime: None) -> None:
    """Three seconds of work under a limit of 2.5 s, without a retry to spare."""
    log: list[str] = []

    async def main() -> tuple[str, object, int]:
        options = DevOptions(port=0, discovery=False, poll_seconds=0)
        async with DevServer(options) as server:
            environment = {
                "INNGEST_APP": "long:client",
                "INNGEST_DEV": server.url,
                "AzureFunctionsJobHost__functionTimeout": "00:00:02.5",
            }
            config = FunctionAppConfig(HANDLERS, LOCAL_SCRIPT, environment, answer_timeout=2.5)
            async with LocalFunctionApp(config, on_log=log.append) as local:
                assert await server.sync.sync(f"{local.url}/api/inngest") is None
                event = server.engine.new_event(name="long/work", data={"steps": STEPS})
                server.engine.ingest([event])
                while (run := server.engine.runs_of_event(event.internal_id)[0]).ended_ms is None:
                    await asyncio.sleep(0.02)
                rows = server.engine.timeline(run.run_id)
                return run.status, run.output, len(rows)

    assert asyncio.run(main()) == ("Completed", STEPS, STEPS + 1)
    assert [line for line in log if "no answer" in line] == []
    assert sorted(line for line in log if "ran" in line) == sorted(f"ran {n}" for n in range(STEPS))


def test_dev_runs_the_app_and_a_run_from_start_to_end(runtime: None, tmp_path: Path) -> None:
    words = ("--app", "shop:client", "--platform", "azure", "--port", "0")
    with Dev(*words, "--db", str(tmp_path / "dev.db"), cwd=APPS) as dev:
        event = {"name": "shop/order.placed", "data": {"id": "7", "total": "9,90 €"}}
        httpx.post(f"{dev.url}/e/dev", json=event, trust_env=False)
        dev.wait_for("✓ shop-order")
        dev.wait_for("│ order 7")
        url = dev.app_url
        assert dev.interrupt() == 0
    assert "Traceback" not in dev.output
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_dev_says_when_the_runtime_does_not_start(runtime: None, tmp_path: Path) -> None:
    (tmp_path / "werkzeug.py").touch()  # in the way of what Microsoft's packages import
    (tmp_path / "shop.py").write_text((APPS / "shop.py").read_text())
    words = ("--app", "shop:client", "--platform", "azure", "--port", "0", "--db", "dev.db")
    done = subprocess.run(
        [sys.executable, "-m", "inngest_serverless.cli", "dev", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Microsoft's runtime did not start" in done.stderr
    assert "werkzeug" in done.stdout


def test_the_worker_ends_with_whoever_started_it(runtime: None, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ("--app", "shop:client", "--platform", "azure", "--port", "0")
    with Dev(*words, "--db", str(tmp_path / "dev.db"), cwd=APPS) as dev:
        event = {"name": "shop/hold", "data": {"pipe": str(pipe)}}
        httpx.post(f"{dev.url}/e/dev", json=event, trust_env=False)
        with pipe.open("rb") as held:  # open as soon as the function has it open
            dev.kill()
            assert held.read() == b""  # that is its end, though its loop was blocked


def test_a_call_streams_from_the_first_byte(streaming: Running) -> None:
    said = streaming.call("plain", {"total": "9,90 €"})
    assert (said.status_code, said.content[:1]) == (201, b" ")
    assert said.headers["x-accel-buffering"] == "no"
    assert (said.json()["status"], said.json()["body"]) == (200, '{"total":"9,90 €"}')


def test_what_calls_no_function_does_not_stream(streaming: Running) -> None:
    assert streaming.ask("GET").json()["function_count"] == 7
    assert streaming.call("refund").status_code == 404
    said = streaming.ask("POST", target_of("plain"), content=b"{")
    assert (said.status_code, said.headers["x-inngest-req-version"]) == (400, "2")


def test_a_stream_that_blocks_does_not_block_the_worker(streaming: Running) -> None:
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(streaming.call, "wait")
        assert streaming.call("ring").status_code == 201
        assert waiting.result().json()["body"] == "true"


def test_a_worker_that_ends_in_the_middle_of_a_stream_is_replaced(runtime: None) -> None:
    with running(STREAMING_APP) as app:
        assert app.call("crash").status_code == 502
        assert app.call("plain").status_code == 201
