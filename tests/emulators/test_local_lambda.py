"""The local Lambda with real runtime processes behind it, as its users and its function see it."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inngest_serverless.emulators.local_lambda import (
    FunctionFailed,
    LambdaConfig,
    LocalLambda,
    RequestTooLarge,
    TooManyRequests,
)
from tests.emulators.listening import Log, Switchboard

HANDLERS = Path(__file__).parent / "handlers"
PATIENCE = 30.0
LIMIT = 6_291_556


Scenario = Callable[[LocalLambda, httpx.AsyncClient, Log], Awaitable[None]]


def play(scenario: Scenario, handler: str = "obedient.handler", **settings: Any) -> None:
    """Run `scenario` with a function of its own and a client of its Function URL."""
    config = LambdaConfig(**{"handler": handler, "directory": HANDLERS, **settings})

    async def main() -> None:
        log = Log()
        async with (
            LocalLambda(config, on_log=log) as function,
            httpx.AsyncClient(base_url=function.url, timeout=PATIENCE) as http,
        ):
            await asyncio.wait_for(scenario(function, http, log), PATIENCE)

    asyncio.run(main())


def returning(value: Any) -> dict[str, Any]:
    return {"do": "return", "value": value}


def assert_failed_like_lambda(response: httpx.Response) -> None:
    assert response.status_code == 502
    assert response.json() == {"Message": "Internal Server Error"}
    assert not [name for name in response.headers if name.startswith("x-inngest")]


def all_end(pids: Iterable[int]) -> bool:
    """Wait for processes that need not be our children; False when one outlives our patience."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([descriptor], [], [], PATIENCE)
        os.close(descriptor)
        if not ended:
            return False
    return True


needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits by pidfd: Linux only")


# --- processes ---------------------------------------------------------------------------------


def test_nothing_runs_before_the_first_request() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert (function.cold_starts, function.pids) == (0, [])

    play(scenario)


def test_a_warm_process_is_used_again() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        pids = {(await http.get("/")).json()["pid"] for _ in range(20)}
        assert (sorted(pids), function.cold_starts) == (function.pids, 1)

    play(scenario, "echo.handler")


def test_requests_at_the_same_time_start_more_processes() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            calls = [asyncio.ensure_future(function.invoke(board.order)) for _ in range(3)]
            pids = {await board.arrived.get() for _ in calls}
            board.release()
            assert set(await asyncio.gather(*calls)) == pids == set(function.pids)
            assert function.cold_starts == 3

    play(scenario)


def test_a_process_serves_one_request_at_a_time_and_the_rest_wait() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            calls = [asyncio.ensure_future(function.invoke(board.order)) for _ in range(6)]
            for _ in range(3):
                pair = {await board.arrived.get(), await board.arrived.get()}
                assert board.arrived.empty()
                assert pair == set(function.pids)
                board.release()
            await asyncio.gather(*calls)
            assert function.cold_starts == 2

    play(scenario, max_concurrency=2)


def test_a_request_that_waits_too_long_is_throttled() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            busy = asyncio.ensure_future(function.invoke(board.order))
            await board.arrived.get()
            throttled = await http.post("/", json=returning(1))
            with pytest.raises(TooManyRequests, match="raise max_concurrency"):
                await function.invoke(returning(1))
            board.release()
            await busy
        assert throttled.status_code == 429
        assert throttled.json()["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert await function.invoke(returning("free again")) == "free again"

    play(scenario, max_concurrency=1, queue_timeout=0)


def test_a_process_that_ends_after_its_answer_costs_no_request() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            first = await function.invoke({**board.order, "do": "exit after the answer"})
            await board.arrived.get()
            board.release()
            await log.says("exit status 7")
            assert await function.invoke({"do": "pid"}) != first

    play(scenario)


def test_a_process_that_asks_for_no_more_work_is_replaced() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        first = await function.invoke({"do": "hang after the answer"})
        assert await function.invoke({"do": "pid"}) != first
        assert f"process {first} asked for no more work in 0.50 seconds" in log
        assert len(function.pids) == 1

    play(scenario, timeout=0.5)


def test_the_function_sees_what_lambda_shows_it() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        seen = await function.invoke({"a": "é"})
        environment = seen["environment"]
        assert seen["event"] == {"a": "é"}
        assert seen["function_name"] == "orders"
        assert seen["arn"] == "arn:aws:lambda:eu-north-1:123456789012:function:orders"
        assert 0 < seen["remaining_ms"] <= 7_000
        assert environment["LAMBDA_TASK_ROOT"] == seen["cwd"] == str(HANDLERS)
        assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
        assert environment["EXTRA"] == "1"

    extra = {"AWS_REGION": "eu-north-1", "EXTRA": "1"}
    play(
        scenario, "echo.handler", function_name="orders", memory_mb=256, timeout=7.0,
        environment=extra,
    )  # fmt: skip


def test_a_snapshot_is_restored_at_once() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert await function.invoke(returning(1)) == 1

    play(scenario, environment={"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})


# --- failures -----------------------------------------------------------------------------------


def test_an_unhandled_exception_is_a_bad_gateway_and_its_trace_is_logged() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert_failed_like_lambda(await http.post("/", json={"do": "raise", "message": "boom"}))
        await log.says('raise ValueError(order["message"])')
        assert "[ERROR] ValueError: boom" in log
        await function.invoke(returning(1))
        assert function.cold_starts == 1

    play(scenario)


def test_a_direct_invocation_raises_what_the_handler_raised() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        with pytest.raises(FunctionFailed, match="ValueError: boom") as caught:
            await function.invoke({"do": "raise", "message": "boom"})
        assert (caught.value.error_type, caught.value.message) == ("ValueError", "boom")
        assert "obedient.py" in caught.value.trace[-1]

    play(scenario)


def test_a_function_that_takes_too_long_is_killed() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert_failed_like_lambda(await http.post("/", json={"do": "hang"}))
        assert function.pids == []
        assert "Task timed out after 0.50 seconds" in log
        with pytest.raises(FunctionFailed, match=r"Sandbox\.Timedout"):
            await function.invoke({"do": "hang"})
        assert await function.invoke(returning("alive")) == "alive"

    play(scenario, timeout=0.5)


def test_a_process_that_exits_in_the_middle_is_a_bad_gateway() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert_failed_like_lambda(await http.post("/", json={"do": "exit", "code": 3}))
        assert "Runtime exited with error: exit status 3" in log
        assert await function.invoke(returning("alive")) == "alive"
        assert function.cold_starts == 2

    play(scenario)


@needs_pidfd
def test_a_crash_is_noticed_and_cleaned_up_even_if_a_child_of_the_process_lives_on() -> None:
    log_of: list[Log] = []

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        log_of.append(log)
        assert_failed_like_lambda(await http.post("/", json={"do": "leave a child"}))
        assert "Runtime exited with error: exit status 4" in log

    play(scenario)
    assert all_end([int(log_of[0].lines[0])])


def test_a_module_that_cannot_be_imported_is_tried_again(tmp_path: Path) -> None:
    module = tmp_path / "fragile.py"
    module.write_text("import no_such_module")

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert_failed_like_lambda(await http.get("/"))
        assert "Unable to import module 'fragile': No module named 'no_such_module'" in log
        with pytest.raises(FunctionFailed, match=r"Runtime\.ImportModuleError"):
            await function.invoke({})
        assert function.pids == []
        module.write_text("def handler(event, context):\n    return 'mended'")
        assert (await http.get("/")).json() == "mended"
        assert function.cold_starts == 3

    play(scenario, "fragile.handler", directory=tmp_path)


def test_an_import_that_exits_is_an_init_error(tmp_path: Path) -> None:
    (tmp_path / "rash.py").write_text("import os; os._exit(5)")

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert_failed_like_lambda(await http.get("/"))
        assert "Runtime exited with error: exit status 5" in log

    play(scenario, "rash.handler", directory=tmp_path)


def test_an_import_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import threading; threading.Event().wait()")

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        assert_failed_like_lambda(await http.get("/"))
        assert "Init timed out after 0.50 seconds: importing slow.handler" in log
        assert function.pids == []

    play(scenario, "slow.handler", directory=tmp_path, init_timeout=0.5)


def test_a_cancelled_invocation_ends_its_process() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        call = asyncio.ensure_future(function.invoke({"do": "hang"}))
        await log.says("hanging")
        call.cancel()
        await asyncio.wait({call})
        assert function.pids == []

    play(scenario)


def test_a_client_that_hangs_up_does_not_stop_the_function() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        async with Switchboard() as board:
            call = asyncio.ensure_future(http.post("/", json=board.order))
            pid = await board.arrived.get()
            call.cancel()
            await asyncio.wait({call})
            board.release()
        assert await function.invoke({"do": "pid"}) == pid

    play(scenario, max_concurrency=1)


# --- limits and translation -------------------------------------------------------------------


def test_an_event_of_more_than_6_mb_is_refused() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        refused = await http.post("/", content=b"x" * LIMIT, headers={"content-type": "text/plain"})
        assert refused.status_code == 413
        assert str(LIMIT) in refused.json()["Message"]
        with pytest.raises(RequestTooLarge, match=str(LIMIT)):
            await function.invoke({"big": "x" * LIMIT})
        assert function.cold_starts == 0

    play(scenario)


def test_a_result_of_more_than_6_mb_is_an_error() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        largest = await function.invoke({"do": "fill", "size": LIMIT - 2})
        assert len(largest) == LIMIT - 2
        assert_failed_like_lambda(await http.post("/", json={"do": "fill", "size": LIMIT - 1}))
        assert f"({LIMIT + 1} bytes) exceeded maximum allowed payload size" in log
        assert await function.invoke(returning("alive")) == "alive"

    play(scenario)


def test_a_result_that_is_no_http_response_is_a_bad_gateway_with_the_reason_logged() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        body_not_text = returning({"statusCode": 200, "body": {"a": 1}})
        assert_failed_like_lambda(await http.post("/", json=body_not_text))
        assert "body is a dict; return a str" in log

    play(scenario)


def test_bytes_go_in_and_out_unharmed() -> None:
    raw = bytes(range(256))

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        seen = (await http.put("/b", content=raw)).json()["event"]
        assert seen["isBase64Encoded"] is True
        async with LocalLambda(LambdaConfig("obedient.handler", directory=HANDLERS)) as other:
            answer = {"statusCode": 200, "body": seen["body"], "isBase64Encoded": True}
            response = await http.post(other.url, json=returning(answer))
        assert response.content == raw

    play(scenario, "echo.handler")


def test_the_answer_keeps_status_headers_and_cookies() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        value = {
            "statusCode": 206,
            "headers": {"X-Inngest-Sdk": "py", "Content-Length": "999"},
            "cookies": ["a=1; HttpOnly", "b=2"],
            "body": "é",
        }
        response = await http.post("/", json=returning(value))
        assert (response.status_code, response.text) == (206, "é")
        assert response.headers["x-inngest-sdk"] == "py"
        assert response.headers.get_list("set-cookie") == ["a=1; HttpOnly", "b=2"]
        empty = await http.post("/", json=returning({"statusCode": 204}))
        assert (empty.status_code, empty.content) == (204, b"")

    play(scenario)


def test_the_event_names_an_address_at_which_the_function_can_be_reached() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        event = (await http.get("/api/inngest?fnId=a%2Fb")).json()["event"]
        assert event["rawQueryString"] == "fnId=a%2Fb"
        scheme, host = event["headers"]["x-forwarded-proto"], event["headers"]["host"]
        assert event["requestContext"]["domainName"] == host
        assert f"{scheme}://{host}" == function.url

    play(scenario, "echo.handler")


# --- the log and the end ----------------------------------------------------------------------


def test_output_goes_to_stderr_after_the_name_of_the_function(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        config = LambdaConfig("obedient.handler", directory=HANDLERS, function_name="orders")
        async with LocalLambda(config) as function:
            await function.invoke({"do": "print", "text": "one\ntwo"})

    asyncio.run(main())
    assert capfd.readouterr().err.splitlines() == ["[orders] one", "[orders] two"]


def test_a_clean_end_leaves_no_process_and_no_open_port() -> None:
    async def main() -> tuple[list[int], str]:
        log = Log()
        config = LambdaConfig("obedient.handler", directory=HANDLERS)
        async with LocalLambda(config, on_log=log) as function:
            waiting = asyncio.ensure_future(
                httpx.AsyncClient().post(function.url, json={"do": "hang"})
            )
            await log.says("hanging")
            await function.invoke(returning(1))
            pids, url = function.pids, function.url
        await asyncio.wait({waiting})
        assert isinstance(waiting.exception(), httpx.TransportError)
        assert function.pids == []
        return pids, url

    pids, url = asyncio.run(main())
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_invocations_that_still_wait_at_the_end_fail_and_start_nothing() -> None:
    async def main() -> None:
        log = Log()
        config = LambdaConfig("obedient.handler", directory=HANDLERS, max_concurrency=2)
        async with LocalLambda(config, on_log=log) as function:
            calls = [asyncio.ensure_future(function.invoke({"do": "hang"})) for _ in range(5)]
            await log.says("hanging")
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {getattr(outcome, "error_type", "") for outcome in outcomes} == {"Sandbox.Stopped"}
        assert (function.pids, function.cold_starts) == ([], 2)

    asyncio.run(main())


@needs_pidfd
def test_what_a_handler_started_ends_with_its_process() -> None:
    children: list[int] = []

    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        children.append(await function.invoke({"do": "start a child"}))

    play(scenario)
    assert all_end(children)


@needs_pidfd
@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_leaves_no_process(deadly: signal.Signals) -> None:
    program = [sys.executable, str(HANDLERS / "doomed_parent.py")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(deadly)
    assert len(pids) == 2
    assert all_end(pids)


def test_a_missing_task_root_is_said_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with LocalLambda(LambdaConfig(directory=tmp_path / "nowhere")):
            raise AssertionError("must not start")

    with pytest.raises(NotADirectoryError, match="nowhere"):
        asyncio.run(main())


def test_json_is_passed_through_when_there_is_no_status_code() -> None:
    async def scenario(function: LocalLambda, http: httpx.AsyncClient, log: Log) -> None:
        response = await http.post("/", json=returning({"hello": [1, None]}))
        assert (response.status_code, json.loads(response.content)) == (200, {"hello": [1, None]})
        assert response.headers["content-type"] == "application/json"

    play(scenario)
