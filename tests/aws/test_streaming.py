"""Answers in chunks, from the real runtime client to the client of a Function URL."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx
import pytest

from inngest_sdk import signing
from inngest_serverless.emulators.function_url import MalformedResponse
from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda
from inngest_serverless.engine.server import DevOptions, DevServer
from tests.aws.door import APPS, call, serving
from tests.emulators.listening import Log, Switchboard

HANDLERS = APPS.parents[1] / "emulators" / "handlers"
PATIENCE = 30.0
KEY = "signkey-test-" + "ab" * 16
ALLOW, FORCE = {"INNGEST_STREAMING": "allow"}, {"INNGEST_STREAMING": "force"}

Scenario: TypeAlias = Callable[[LocalLambda, httpx.AsyncClient, Log], Awaitable[None]]


def play(
    scenario: Scenario,
    environment: dict[str, str],
    handler: str = "streamed.handler",
    **settings: Any,
) -> Log:
    """Run `scenario` with a function of its own and a client of its URL; return its log."""
    variables = {"INNGEST_DEV": "1", **environment}
    config = LambdaConfig(handler, variables, directory=APPS, **settings)
    log = Log()

    async def main() -> None:
        async with (
            LocalLambda(config, on_log=log) as function,
            httpx.AsyncClient(base_url=function.url, timeout=PATIENCE) as http,
        ):
            await asyncio.wait_for(scenario(function, http, log), PATIENCE)

    asyncio.run(main())
    return log


def document(text: str) -> tuple[int, Any]:
    """The status and the body that a stream ends with."""
    said = json.loads(text)
    return said["status"], json.loads(said["body"])


@pytest.mark.parametrize("fn_id", ["held", "held-async"])
def test_a_stream_arrives_while_its_function_still_runs(fn_id: str) -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with (
            Switchboard() as board,
            http.stream("POST", **call(fn_id, port=board.order["port"])) as response,
        ):
            chunks = response.aiter_text()
            assert (response.status_code, await anext(chunks)) == (201, " ")
            await board.arrived.get()
            board.release()
            assert document("".join([chunk async for chunk in chunks])) == (200, "done")
            assert response.headers["x-inngest-framework"] == "aws-lambda"
            assert response.headers["x-inngest-sdk"]
            assert "content-length" not in response.headers

    play(scenario, FORCE)


def test_streams_and_whole_answers_take_turns_in_one_process() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        for _ in range(3):
            status, pid = document((await http.post(**call("pid"))).text)
            described = await http.get("/api/inngest")
            assert (status, described.status_code) == (200, 200)
            assert described.json()["function_count"] == 6
            assert (await function.invoke({"warmer": True}))["ok"] is True
            assert function.pids == [pid]

    play(scenario, FORCE)


def test_an_answer_that_is_soon_ready_has_its_own_status_where_streaming_is_allowed() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        ready = await http.post(**call("pid"))
        assert (ready.status_code, ready.json()) == (200, function.pids[0])
        # It too came in chunks, or the URL would have shown the JSON that answers travel in.
        assert ready.headers["transfer-encoding"] == "chunked"
        assert (await http.post(**call("unknown"))).status_code == 404

    play(scenario, ALLOW)


def test_nothing_streams_unless_it_is_asked_for() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        answer = await http.post(**call("pid"))
        assert (answer.status_code, answer.headers["content-length"]) == (
            200,
            str(len(answer.text)),
        )

    play(scenario, {})


def test_a_function_that_fails_is_told_in_the_document() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        response = await http.post(**call("failing"))
        status, error = document(response.text)
        assert (response.status_code, status) == (201, 500)
        assert error["message"] == "no stock"

    play(scenario, FORCE)


def test_a_stream_that_breaks_off_is_reported_and_cut_and_the_process_goes_on() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        for _ in range(2):
            came = b""
            with pytest.raises(httpx.RemoteProtocolError):
                async with http.stream("GET", "/") as response:
                    async for chunk in response.aiter_raw():
                        came += chunk
            assert came == b"the beginning "
        assert "Error: LookupError: no more in stock: größer" in log
        assert function.cold_starts == 1

    play(scenario, {}, "streamed.breaking")


def test_a_process_that_ends_in_the_middle_of_a_stream_cuts_it() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            with pytest.raises(httpx.RemoteProtocolError):
                async with http.stream("POST", **call("exit", **board.order)) as response:
                    await board.arrived.get()
                    board.release()
                    await response.aread()
        assert "Runtime exited with error: exit status 3" in log
        assert document((await http.post(**call("pid"))).text)[0] == 200

    play(scenario, FORCE)


def test_a_stream_that_lasts_too_long_is_cut_with_its_process() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post(**call("held", **board.order))
        assert "Task timed out after 1.00 seconds" in log
        assert function.pids == []

    play(scenario, FORCE, timeout=1.0)


def test_a_client_that_hangs_up_on_a_stream_does_not_stop_the_function() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            async with http.stream("POST", **call("held", **board.order)) as response:
                await anext(response.aiter_raw())
                pid = await board.arrived.get()
            board.release()
        assert document((await http.post(**call("pid"))).text) == (200, pid)

    play(scenario, FORCE, max_concurrency=1)


def test_a_stream_carries_more_than_a_whole_answer_can() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        status, text = document((await http.post(**call("large", size=7_000_000))).text)
        assert (status, len(text)) == (200, 7_000_000)
        status, error = document((await http.post(**call("large", size=9_000_000))).text)
        assert status == 500
        assert "the Inngest server" in error["message"]

    play(scenario, FORCE)


def test_a_call_that_is_not_signed_is_refused_before_anything_streams() -> None:
    environment = {**FORCE, "INNGEST_DEV": "0", "INNGEST_SIGNING_KEY": KEY}

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        order = call("pid")
        assert (await http.post(**order)).status_code == 401
        signed = signing.sign(KEY, order["content"].encode(), int(time.time()))
        order["headers"]["x-inngest-signature"] = signed
        response = await http.post(**order)
        assert (response.status_code, document(response.text)[0]) == (201, 200)

    play(scenario, environment)


def test_a_decorator_that_copies_a_streamed_answer_is_told_what_it_did() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        response = await http.post(**call("pid"))
        status, error = document(response.text)
        assert (response.status_code, status) == (201, 500)
        assert "let it return what the handler returned" in error["message"]

    play(scenario, FORCE, "streamed.copying")


def test_an_app_that_cannot_be_loaded_says_so_through_a_url_that_streams() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        response = await http.post(**call("pid"))
        assert response.status_code == 500
        assert "there is no module 'nowhere'" in response.json()["message"]
        assert response.headers["transfer-encoding"] == "chunked"

    play(scenario, {**FORCE, "INNGEST_APP": "nowhere:client"}, "inngest_serverless.aws.handler")


def test_a_direct_invocation_does_not_stream() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        described = await function.invoke({"inngest": {"method": "GET", "url": "/"}})
        assert (described["statusCode"], json.loads(described["body"])["function_count"]) == (
            200,
            6,
        )

    play(scenario, FORCE)


def test_a_stream_is_no_result_of_an_invocation_past_the_url() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        with pytest.raises(MalformedResponse, match="ask for it at the `url`"):
            await function.invoke({})

    play(scenario, {}, "streamed.whole")


def test_the_door_serves_an_app_through_the_real_runtime() -> None:
    lines: list[str] = []
    with serving("streamed:client", environment=ALLOW, on_log=lines.append) as url:
        response = httpx.get(f"{url}/api/inngest", timeout=PATIENCE)
    assert response.json()["function_count"] == 6


def test_a_run_longer_than_the_timeout_ends_where_every_answer_streams() -> None:
    """Two seconds of work under a timeout of 1.5 s, without a retry to spare."""
    log: list[str] = []

    async def main() -> tuple[str, object]:
        async with DevServer(DevOptions(port=0, discovery=False, poll_seconds=0)) as server:
            config = LambdaConfig(
                environment={**FORCE, "INNGEST_APP": "long:client", "INNGEST_DEV": server.url},
                directory=HANDLERS,
                timeout=1.5,
            )
            async with LocalLambda(config, on_log=log.append) as function:
                assert await server.sync.sync(f"{function.url}/api/inngest") is None
                event = server.engine.new_event(name="long/work", data={"steps": 20})
                server.engine.ingest([event])
                while (run := server.engine.runs_of_event(event.internal_id)[0]).ended_ms is None:
                    await asyncio.sleep(0.02)
                return run.status, run.output

    assert asyncio.run(main()) == ("Completed", 20)
    assert [line for line in log if "timed out" in line] == []
    assert sorted(line for line in log if "ran" in line) == sorted(f"ran {n}" for n in range(20))
