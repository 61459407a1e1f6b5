"""The drivers and the network, over a real loopback server."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from inngest_sdk import transport
from inngest_sdk.drive import drive, drive_async
from inngest_sdk.effects import (
    AsyncDriver,
    Driver,
    Flow,
    Invoke,
    Outcome,
    Returned,
    fetch,
    invoke,
    now,
    pause,
)
from inngest_sdk.errors import UnreachableError
from inngest_sdk.http import Request, Response


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("X-Seen", self.headers.get("x-sent", ""))
        self.send_header("X-Twice", "a")
        self.send_header("X-Twice", "b")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        # As a server does to idle connections, while a Lambda is frozen.
        self.close_connection = self.path == "/close"

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Any:
    if request.param == "sync":
        return drive
    return lambda flow: asyncio.run(drive_async(flow))


def exchange(url: str, body: bytes = b"hello") -> Flow[Response]:
    return (yield from fetch(Request("POST", url, {"x-sent": "1"}, body), 5.0))


def test_a_request_goes_out_and_its_answer_comes_in(run: Any, echo: str) -> None:
    answer = run(exchange(echo))
    assert (answer.status, answer.body) == (200, b"hello")
    assert (answer.headers["x-seen"], answer.headers["x-twice"]) == ("1", "a, b")


def test_a_connection_that_the_server_closed_is_made_anew(run: Any, echo: str) -> None:
    def twice() -> Flow[list[bytes]]:
        first = yield from exchange(f"{echo}/close")
        second = yield from exchange(f"{echo}/close")
        return [first.body, second.body]

    assert run(twice()) == [b"hello", b"hello"]


def test_loops_that_are_closed_keep_no_connections(echo: str) -> None:
    asyncio.run(drive_async(exchange(echo)))
    kept = set(transport._async_clients)
    asyncio.run(drive_async(exchange(echo)))
    assert set(transport._async_clients) == kept
    assert not any(loop.is_closed() for loop in kept)


def test_a_server_that_is_not_there_is_unreachable(run: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/fn/register"
        with pytest.raises(UnreachableError, match=r"no answer from http://127.0.0.1:\d+/fn"):
            run(exchange(url))


def test_a_flow_may_go_on_after_an_unreachable_server(run: Any) -> None:
    def patient() -> Flow[str]:
        try:
            yield from exchange("http://127.0.0.1:9")
        except UnreachableError:
            yield from pause(0)
            return "went on"
        return "reached"

    assert run(patient()) == "went on"


def test_an_event_key_does_not_stand_in_an_error(run: Any) -> None:
    with pytest.raises(UnreachableError) as error:
        run(exchange("http://127.0.0.1:9/e/secret-key"))
    assert "secret-key" not in error.value.message


def test_an_event_key_does_not_stand_in_a_log(
    run: Any, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    run(exchange(f"{echo}/e/secret-key"))
    run(exchange(f"{echo}/v1/signals"))
    assert "secret-key" not in caplog.text
    assert f"{echo}/e/…" in caplog.text
    assert f"{echo}/v1/signals" in caplog.text


@pytest.mark.parametrize("url", ["", "nowhere", "http://", "ftp://x/", "http://[::"])
def test_a_url_that_is_none_is_unreachable(run: Any, url: str) -> None:
    with pytest.raises(UnreachableError):
        run(exchange(url))


class Reports:
    """An invocation that reports where it ran."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async

    def run(self, drive: Driver) -> Outcome:
        return Returned(threading.current_thread())

    async def run_async(self, drive: AsyncDriver) -> Outcome:
        return Returned(asyncio.get_running_loop())


def test_async_functions_of_one_thread_share_one_loop() -> None:
    loops = [drive(invoke(Reports(is_async=True))) for _ in range(2)]
    assert loops[0] == loops[1]


def test_threads_have_loops_of_their_own() -> None:
    ours = drive(invoke(Reports(is_async=True)))
    theirs = asyncio.run(asyncio.to_thread(drive, invoke(Reports(is_async=True))))
    assert ours != theirs


def test_a_sync_function_does_not_block_the_loop_of_an_async_driver() -> None:
    outcome = asyncio.run(drive_async(invoke(Reports(is_async=False))))
    assert outcome != Returned(threading.main_thread())


def test_an_async_function_runs_on_the_loop_of_an_async_driver() -> None:
    async def both() -> None:
        outcome = await drive_async(invoke(Reports(is_async=True)))
        assert outcome == Returned(asyncio.get_running_loop())

    asyncio.run(both())


def test_a_blocking_driver_on_a_running_loop_says_what_to_do() -> None:
    async def wrong() -> None:
        drive(invoke(Reports(is_async=True)))

    with pytest.raises(RuntimeError, match=r"asyncio\.to_thread"):
        asyncio.run(wrong())


def test_a_flow_may_ask_for_the_time(run: Any) -> None:
    before = time.time()
    assert before <= run(now()) <= time.time()


def test_two_seeds_differ() -> None:
    seeds = {transport.event_id_seed() for _ in range(10)}
    assert len(seeds) == 10
    milliseconds, _, entropy = seeds.pop().partition(",")
    assert milliseconds.isdigit()
    assert len(entropy) == 16


def test_an_invoke_effect_holds_its_invocation() -> None:
    invocation = Reports(is_async=False)
    assert next(invoke(invocation)) == Invoke(invocation)
