"""`inngest-serverless dev`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from inngest_serverless.cli.dev import Log, log_ended
from inngest_serverless.cli.local_app import check_app, environment, proxy_free
from inngest_serverless.cli.problems import WrongUse
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.model import Call, Reply

from ..dev_process import Dev
from .conftest import APPS, Invoke


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


@pytest.mark.parametrize("platform", ["aws", "asgi"])
def test_an_app_runs_until_ctrl_c(
    platform: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--app", "greeter:client", "--platform", platform, "--port", "0")
    with Dev(*words, "--db", str(tmp_path / "deep" / "dev.db"), cwd=APPS) as dev:
        sent = invoke("send", "test/greet", "-d", '{"name": "ada"}', "--url", dev.url, "--json")
        event_id = json.loads(sent.output)["ids"][0]
        rows = httpx.get(f"{dev.url}/v1/events/{event_id}/runs").json()["data"]
        done = invoke("run", rows[0]["run_id"], "--wait", "--timeout", "30", "--url", dev.url)
        assert done.exit_code == 0, done.output
        url, app_url = dev.url, dev.app_url
        assert dev.interrupt() == 0
    assert "greeter-greet" in dev.output
    assert "stopped" in dev.output
    assert "Traceback" not in dev.output
    for each in (url, app_url):
        with pytest.raises(httpx.ConnectError):
            httpx.get(each)


def test_the_log_shows_a_run_from_start_to_end(invoke: Invoke, tmp_path: Path) -> None:
    words = ("--app", "greeter:client", "--port", "0", "--db", str(tmp_path / "dev.db"))
    with Dev(*words, cwd=APPS) as dev:
        invoke("send", "test/greet", "-d", '{"name": "ada"}', "--url", dev.url)
        dev.wait_for('"ADA"')
    assert "▶ greeter-greet" in dev.output
    assert "✓ greeter-greet" in dev.output


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        ("nowhere:client", "nowhere"),
        ("greeter:nobody", "nobody"),
        ("greeter", "client"),
        ("broken:client", "this module is broken"),
        ("ending:client", "its import ended the process with exit code 3"),
        ("leaving:client", "exit code 0"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_said_before_anything_starts(
    invoke: Invoke, app: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(APPS)
    done = invoke("dev", "--app", app, "--db", str(tmp_path / "dev.db"))
    assert done.exit_code == 2
    assert complaint in done.output
    assert not (tmp_path / "dev.db").exists()


def test_a_port_in_use_is_named(invoke: Invoke, taken_port: int, tmp_path: Path) -> None:
    done = invoke("dev", "--port", str(taken_port), "--db", str(tmp_path / "dev.db"))
    assert done.exit_code == 1
    assert f"port {taken_port} on 127.0.0.1 is already in use" in done.output


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at" * 40)
    complaint = refused("--port", "0", "--db", str(tmp_path / "notes.txt"))
    assert f"cannot keep runs in {tmp_path / 'notes.txt'}" in complaint


def test_a_folder_that_cannot_be_made_is_named(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = invoke("dev", "--port", "0", "--db", str(tmp_path / "file" / "dev.db"))
    assert done.exit_code == 1
    assert str(tmp_path / "file") in done.output
    assert "--db" in done.output


@pytest.mark.parametrize("host", ["nosuch.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_named(invoke: Invoke, host: str, tmp_path: Path) -> None:
    done = invoke("dev", "--host", host, "--port", "0", "--db", str(tmp_path / "dev.db"))
    assert done.exit_code == 1
    assert f"cannot listen on port 0 on {host}" in done.output
    assert "--host" in done.output


def test_an_import_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="its import has not ended within"):
        check_app("asgi", "hanging:client", APPS, seconds=0.5)


def test_ctrl_c_while_the_app_is_loaded_ends_it_too(tmp_path: Path) -> None:
    words = ("--app", "hanging:client", "--port", "0", "--db", str(tmp_path / "dev.db"))
    with subprocess.Popen(
        [sys.executable, "-m", "inngest_serverless.cli", "dev", *words],
        cwd=APPS,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading    hanging:client\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        rest = process.stdout.read()
    assert rest.endswith("stopped\n"), rest
    assert "Aborted" not in rest
    assert process.returncode == 0


def test_the_app_finds_its_engine_without_any_proxy(
    invoke: Invoke, closed: str, tmp_path: Path
) -> None:
    words = ("--app", "greeter:client", "--platform", "asgi", "--port", "0", "--no-discovery")
    proxies = {"HTTP_PROXY": closed, "http_proxy": closed, "NO_PROXY": "example.org"}
    with Dev(*words, "--db", str(tmp_path / "dev.db"), cwd=APPS, environ=proxies) as dev:
        invoke("send", "test/greet", "-d", '{"name": "ada"}', "--url", dev.url)
        dev.wait_for("✓ greeter-greet")


def test_an_app_keeps_the_exceptions_that_it_has_from_proxies() -> None:
    given = {"NO_PROXY": "a.example,b.example"}
    hosts = "a.example,b.example,localhost,127.0.0.1,::1,engine.example"
    expected = {"NO_PROXY": hosts, "no_proxy": hosts}
    assert proxy_free("http://engine.example:8288", given) == expected
    all_of_them = {"NO_PROXY": "*", "no_proxy": "*"}
    assert proxy_free("http://engine.example:8288", {"no_proxy": "*"}) == all_of_them


def test_a_terminal_without_unicode_shows_the_log_all_the_same(
    invoke: Invoke, tmp_path: Path
) -> None:
    words = ("--app", "greeter:client", "--port", "0", "--db", str(tmp_path / "dev.db"))
    with Dev(*words, cwd=APPS, environ={"PYTHONIOENCODING": "ascii"}) as dev:
        invoke("send", "test/greet", "-d", '{"name": "ada"}', "--url", dev.url)
        dev.wait_for("\\u2713 greeter-greet")
        assert dev.interrupt() == 0
    assert "Traceback" not in dev.output


def test_a_log_that_breaks_off_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async def script() -> None:
        stopped = Engine(no_calls)  # it was never entered: asking it for runs breaks
        watching = asyncio.create_task(Log(Console()).runs(stopped))
        watching.add_done_callback(log_ended)
        await asyncio.wait([watching])
        await asyncio.sleep(0)

    asyncio.run(script())
    assert "the log of runs broke off: AttributeError" in capsys.readouterr().err


def test_a_long_line_of_the_app_stays_one_line() -> None:
    written = io.StringIO()
    Log(Console(file=written, width=40)).function("word " * 50)
    assert written.getvalue().count("\n") == 1


def test_the_local_lambda_can_be_given_less_time(invoke: Invoke, tmp_path: Path) -> None:
    words = ("--app", "greeter:client", "--timeout", "0.5", "--retry-interval", "0")
    with Dev(*words, "--port", "0", "--db", str(tmp_path / "dev.db"), cwd=APPS) as dev:
        invoke("send", "test/dawdle", "--url", dev.url)
        dev.wait_for("Task timed out after 0.50 seconds")


@pytest.mark.parametrize("words", [(), ("--app", "greeter:client", "--platform", "asgi")])
def test_only_the_local_lambda_has_a_timeout(invoke: Invoke, words: tuple[str, ...]) -> None:
    done = invoke("dev", "--timeout", "5", *words)
    assert done.exit_code == 2
    assert "--platform aws" in done.output


def test_a_second_engine_on_the_same_file_is_refused(tmp_path: Path) -> None:
    words = ("--port", "0", "--no-discovery", "--db", str(tmp_path / "dev.db"))
    with Dev(*words, cwd=APPS):
        complaint = refused(*words)
    assert f"another engine works on {tmp_path / 'dev.db'}" in complaint


def test_a_step_that_is_tried_again_is_said_with_its_error(invoke: Invoke, tmp_path: Path) -> None:
    words = ("--app", "greeter:client", "--port", "0", "--db", str(tmp_path / "dev.db"))
    with Dev(*words, cwd=APPS) as dev:
        invoke("send", "test/stumble", "--url", dev.url)
        dev.wait_for("stumble: RuntimeError: the first time is hard")
    assert "try 2 at " in dev.output


def test_a_url_needs_its_scheme(invoke: Invoke) -> None:
    assert invoke("dev", "--url", "localhost:8000").exit_code == 2


def test_an_app_that_runs_elsewhere_is_named_by_its_url(
    invoke: Invoke, app_url: str, tmp_path: Path
) -> None:
    with Dev("--url", app_url, "--port", "0", "--db", str(tmp_path / "dev.db"), cwd=APPS) as dev:
        # It answers, but its INNGEST_DEV names another engine, and that is said.
        dev.wait_for("it talks to another server")
        assert dev.interrupt() == 0


def test_what_was_kept_is_there_after_a_restart(invoke: Invoke, tmp_path: Path) -> None:
    words = ("--app", "greeter:client", "--port", "0", "--db", str(tmp_path / "dev.db"))
    with Dev(*words, cwd=APPS) as dev:
        invoke("send", "test/greet", "-d", '{"name": "ada"}', "--url", dev.url)
        dev.wait_for("✓ greeter-greet")
        assert dev.interrupt() == 0
    with Dev(*words, cwd=APPS) as dev:
        assert "greeter-greet" in invoke("runs", "--url", dev.url).output


async def no_calls(call: Call) -> Reply:
    raise AssertionError("nothing is called here")


def refused(*words: str) -> str:
    """Call `dev` in a process of its own, and return what it complains of."""
    dev = [sys.executable, "-m", "inngest_serverless.cli", "dev", *words]
    done = subprocess.run(dev, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_app_in_development_has_no_keys_to_fetch() -> None:
    given = environment("hello:client", "http://127.0.0.1:8288")
    keys = ("INNGEST_SIGNING_KEY", "INNGEST_SIGNING_KEY_FALLBACK", "INNGEST_EVENT_KEY")
    assert [given[name] for name in keys] == ["", "", ""]
