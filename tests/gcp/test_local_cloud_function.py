"""The local function: a real server that starts, says what goes on in it, and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from inngest_serverless.emulators.local_cloud_function import (
    CloudFunctionConfig,
    FunctionNotStarted,
    LocalCloudFunction,
)

from .running import APPS, running, web

ROOT = Path(__file__).parents[2]
STUBBORN = APPS / "stubborn.py"


def test_its_lines_are_shown_as_they_are() -> None:
    with running("write", source=STUBBORN) as function:
        with web() as client:
            assert client.get(function.url).text == "written"
        function.wait_for("x" * 300_000)
    assert function.lines == ["x" * 300_000, "last words without an end"]


def test_it_ends_with_its_block() -> None:
    with running("environment", source=STUBBORN) as function, web() as client:
        client.get(function.url)
    with web() as client, pytest.raises(httpx.ConnectError):
        client.get(function.url)  # the worker has the socket too: it is gone as well
    with pytest.raises(ProcessLookupError):
        os.kill(function.pid, 0)


def test_its_environment_is_that_of_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTION_USE_ASGI", "1")
    monkeypatch.setenv("DEBUG", "1")  # of some other program: no debugging server starts
    own = {"K_REVISION": "orders-7"}
    with running("environment", source=STUBBORN, environ=own) as function, web() as client:
        found = client.get(function.url).json()
    assert "FUNCTION_USE_ASGI" not in found
    told = {name: found[name] for name in ("K_SERVICE", "K_REVISION", "FUNCTION_TARGET", "DEBUG")}
    assert told == {
        "K_SERVICE": "local",
        "K_REVISION": "orders-7",
        "FUNCTION_TARGET": "environment",
        "DEBUG": "1",
    }


def test_what_python_itself_says_at_the_start_is_a_line_like_others() -> None:
    own = {"PYTHONWARNINGS": "nonsense"}
    with running("environment", source=STUBBORN, environ=own) as function, web() as client:
        assert client.get(function.url).status_code == 200
    assert "Invalid -W option" in function.lines[0]


def test_a_machine_without_functions_framework_is_told_what_to_install() -> None:
    code = (
        "from inngest_serverless.emulators import local_cloud_function as local;"
        "print(local.missing_parts())"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk")])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'inngest-serverless[gcp]'" in run.stdout


def test_it_works_in_its_directory() -> None:
    with running("path", source=STUBBORN) as function, web() as client:
        assert client.get(function.url).json() == [str(APPS), str(APPS)]


@pytest.mark.parametrize(
    ("source", "target", "complaint"),
    [
        ("main.py", "hanlder", "to contain a function named 'hanlder'. Found: 'async_handler'"),
        ("nowhere.py", "handler", "nowhere.py that is expected to define function doesn't exist"),
        ("broken.py", "handler", "RuntimeError: this module is broken"),
        ("ending.py", "handler", "this module ends the process"),
        ("shop.py", "client", "needs to be of type function"),
    ],
)
def test_what_cannot_be_loaded_is_said_with_its_reason(
    source: str, target: str, complaint: str
) -> None:
    with (
        pytest.raises(FunctionNotStarted, match=complaint),
        running(target, source=APPS / source),
    ):
        pass


def test_a_port_that_is_taken_is_said() -> None:
    async def start(port: int) -> None:
        async with LocalCloudFunction(CloudFunctionConfig(directory=APPS), port=port):
            pass

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(FunctionNotStarted, match="Address already in use"):
            asyncio.run(start(one.getsockname()[1]))


def test_a_directory_that_is_none_is_said(tmp_path: Path) -> None:
    async def start() -> None:
        async with LocalCloudFunction(CloudFunctionConfig(directory=tmp_path / "nowhere")):
            pass

    with pytest.raises(NotADirectoryError, match="nowhere is not a directory"):
        asyncio.run(start())


def test_without_a_log_its_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    config = CloudFunctionConfig(
        source=STUBBORN, target="environment", directory=APPS, service="orders"
    )

    async def ask() -> None:
        async with LocalCloudFunction(config) as function, httpx.AsyncClient() as client:
            await client.get(function.url)

    asyncio.run(ask())
    assert capsys.readouterr().err.startswith("[orders] asked for /")


def test_it_ends_though_something_that_it_left_behind_does_not() -> None:
    with running("leave_behind", source=STUBBORN) as function, web() as client:
        left = int(client.get(function.url).text)
    os.kill(left, signal.SIGKILL)  # it is still there


PARENT = """
import asyncio, os, sys
from pathlib import Path
from inngest_serverless.emulators import local_cloud_function as local

async def main():
    config = local.CloudFunctionConfig(source=Path(sys.argv[1]), target="wait")
    async with local.LocalCloudFunction(config) as function:
        print(function.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_it_ends_with_the_process_that_started_it_even_if_that_was_killed(tmp_path: Path) -> None:
    """A request is under way, and its connection closes without an answer: the worker is gone."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    words = [sys.executable, "-c", PARENT, str(STUBBORN)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        host, port = parent.stdout.readline().strip().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"GET /?gate={gate} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            assert parent.stderr.readline() == "[local] waiting\n"
            parent.send_signal(signal.SIGKILL)
            assert connection.recv(1) == b""
