"""The Runtime API as a runtime speaks to it over HTTP; here the test is the runtime."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import httpx
import pytest

from inngest_serverless.emulators.runtime_api import (
    FunctionFailed,
    Invocation,
    ResultStream,
    RuntimeApi,
    RuntimeGone,
)

INVOCATION = Invocation("id-1", b'{"a":1}', 1795350600250, "arn:aws:lambda:f", "Root=1-2-3")
Scenario = Callable[[RuntimeApi, httpx.AsyncClient], Awaitable[None]]


def play(scenario: Scenario) -> list[str]:
    """Run `scenario` with an API and a runtime's client of it; return what the API logged."""
    log: list[str] = []

    async def main() -> None:
        api = RuntimeApi(log.append)
        await api.open("127.0.0.1")
        origin = f"http://{api.address}/2018-06-01/runtime/"
        async with httpx.AsyncClient(base_url=origin) as runtime:
            await asyncio.wait_for(scenario(api, runtime), 30)
        await api.close()

    asyncio.run(main())
    return log


async def taken(api: RuntimeApi, runtime: httpx.AsyncClient) -> asyncio.Task[bytes]:
    """Have the runtime take INVOCATION; the task gives what the invoker gets."""
    polling = asyncio.ensure_future(runtime.get("invocation/next"))
    await api.wait_idle()
    task = asyncio.ensure_future(api.invoke(INVOCATION, ResultStream()))
    await polling
    return task


def test_an_invocation_is_handed_to_the_runtime_that_waits_for_it() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        polling = asyncio.ensure_future(runtime.get("invocation/next"))
        await api.wait_idle()
        task = asyncio.ensure_future(api.invoke(INVOCATION, ResultStream()))
        taken = await polling
        assert taken.content == INVOCATION.event
        assert taken.headers["lambda-runtime-aws-request-id"] == "id-1"
        assert taken.headers["lambda-runtime-deadline-ms"] == "1795350600250"
        assert taken.headers["lambda-runtime-invoked-function-arn"] == "arn:aws:lambda:f"
        assert taken.headers["lambda-runtime-trace-id"] == "Root=1-2-3"
        accepted = await runtime.post("invocation/id-1/response", content=b"[2]")
        assert (accepted.status_code, accepted.json()) == (202, {"status": "OK"})
        assert await task == b"[2]"

    play(scenario)


def test_a_runtime_that_ends_before_it_is_handed_anything_is_gone() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        polling = asyncio.ensure_future(runtime.get("invocation/next"))
        await api.wait_idle()
        api.finish(FunctionFailed("Sandbox.Stopped", "the process was stopped"))
        with pytest.raises(RuntimeGone, match="the process was stopped"):
            await api.invoke(INVOCATION, ResultStream())
        polling.cancel()

    play(scenario)


@pytest.mark.parametrize("kind", ["response", "error"])
def test_an_answer_to_an_unknown_request_is_refused(kind: str) -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        assert (await runtime.post(f"invocation/id-1/{kind}")).status_code == 400
        task = await taken(api, runtime)
        refused = await runtime.post(f"invocation/id-2/{kind}", content=b"{}")
        assert (refused.status_code, refused.json()["errorType"]) == (400, "InvalidRequestID")
        await runtime.post("invocation/id-1/response", content=b"1")
        assert await task == b"1"

    play(scenario)


def test_an_answer_that_comes_too_late_is_refused() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        task = await taken(api, runtime)
        task.cancel()
        await asyncio.wait({task})
        assert (await runtime.post("invocation/id-1/response", content=b"1")).status_code == 400

    play(scenario)


def test_a_second_answer_is_refused() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        task = await taken(api, runtime)
        await runtime.post("invocation/id-1/response", content=b"1")
        assert (await runtime.post("invocation/id-1/response", content=b"2")).status_code == 400
        assert await task == b"1"

    play(scenario)


def test_a_result_over_the_limit_fails_the_invocation_and_is_logged() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        task = await taken(api, runtime)
        refused = await runtime.post("invocation/id-1/response", content=b"x" * 6_291_557)
        assert refused.status_code == 413
        with pytest.raises(FunctionFailed, match=r"Function\.ResponseSizeTooLarge"):
            await task

    assert "6291557 bytes" in play(scenario)[0]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            {"json": {"errorType": "KeyError", "errorMessage": "'a'", "stackTrace": ["  File 1"]}},
            ("KeyError", "'a'", ("  File 1",)),
        ),
        ({"json": {}}, ("Custom.Reason", "", ())),
        ({"content": b"it broke"}, ("Custom.Reason", "it broke", ())),
    ],
)
def test_an_error_report_reaches_the_invoker(
    report: dict[str, bytes], expected: tuple[str, str, tuple[str, ...]]
) -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        task = await taken(api, runtime)
        kind = {"Lambda-Runtime-Function-Error-Type": "Custom.Reason"}
        # The runtime client sends the X-Ray cause in a header of up to 1 MiB.
        cause = {"Lambda-Runtime-Function-XRay-Error-Cause": "x" * 1024 * 1024}
        path = "invocation/id-1/error"
        if "json" in report:
            accepted = await runtime.post(path, headers=kind | cause, json=report["json"])
        else:
            accepted = await runtime.post(path, headers=kind | cause, content=report["content"])
        assert accepted.status_code == 202
        with pytest.raises(FunctionFailed) as caught:
            await task
        failure = caught.value
        assert (failure.error_type, failure.message, failure.trace) == expected

    play(scenario)


@pytest.mark.parametrize("phase", ["init", "restore"])
def test_an_error_at_the_start_ends_the_wait_for_the_runtime(phase: str) -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        waiting = asyncio.ensure_future(api.wait_idle())
        report = {"errorType": "Runtime.ImportModuleError", "errorMessage": "no module"}
        assert (await runtime.post(f"{phase}/error", json=report)).status_code == 202
        with pytest.raises(RuntimeGone, match="no module"):
            await waiting
        assert api.end is not None
        assert api.end.error_type == "Runtime.ImportModuleError"

    play(scenario)


def test_an_unknown_path_is_not_found() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        assert (await runtime.get("nothing")).status_code == 404

    play(scenario)


# --- results in chunks ---------------------------------------------------------------------------

MODE = {"Lambda-Runtime-Function-Response-Mode": "streaming"}


async def sent(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def streaming(
    api: RuntimeApi, runtime: httpx.AsyncClient
) -> tuple[ResultStream, asyncio.Task[bytes]]:
    """Have the runtime take INVOCATION; gives what its result goes to, in both forms."""
    stream = ResultStream()
    polling = asyncio.ensure_future(runtime.get("invocation/next"))
    await api.wait_idle()
    task = asyncio.ensure_future(api.invoke(INVOCATION, stream))
    await polling
    return stream, task


def test_a_result_in_chunks_is_passed_on_while_it_comes() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        stream, task = await streaming(api, runtime)
        chunks = stream.chunks()
        may_go_on = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            await may_go_on.wait()
            yield b"two"

        posting = asyncio.ensure_future(
            runtime.post("invocation/id-1/response", headers=MODE, content=body())
        )
        assert await anext(chunks) == b"one"
        assert stream.content_type == "application/octet-stream"
        assert not task.done()
        may_go_on.set()
        assert await anext(chunks) == b"two"
        assert (await posting).status_code == 202
        assert await task == b""

    play(scenario)


async def post_by_hand(api: RuntimeApi, body: bytes) -> bytes:
    """Post a chunked result with trailers, which httpx cannot; gives the answer's first line."""
    host, _, port = api.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1\r\nHost: x\r\n"
        b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
        + body
    )
    writer.write_eof()
    line = await reader.readline()
    writer.close()
    return line


REPORT = base64.b64encode(
    json.dumps({"errorType": "KeyError", "errorMessage": "'a'", "stackTrace": ["line"]}).encode()
)


@pytest.mark.parametrize(
    ("trailers", "expected"),
    [
        (
            b"Lambda-Runtime-Function-Error-Body: " + REPORT + b"\r\n",
            ("KeyError", "'a'", ("line",)),
        ),
        (b"Lambda-Runtime-Function-Error-Body: no base64\r\n", ("Reason", "", ())),
        (b"", ("Reason", "", ())),
    ],
)
def test_an_error_in_the_trailers_fails_the_invocation(
    trailers: bytes, expected: tuple[str, str, tuple[str, ...]]
) -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        _, task = await streaming(api, runtime)
        kind = b"Lambda-Runtime-Function-Error-Type: Reason\r\n"
        line = await post_by_hand(api, b"3\r\none\r\n0\r\n" + kind + trailers + b"\r\n")
        assert line.startswith(b"HTTP/1.1 202")
        with pytest.raises(FunctionFailed) as caught:
            await task
        failure = caught.value
        assert (failure.error_type, failure.message, failure.trace) == expected

    assert "RequestId: id-1 Error: " in play(scenario)[0]


def test_a_stream_that_breaks_off_fails_when_the_runtime_asks_for_more_work() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        stream, task = await streaming(api, runtime)
        assert await post_by_hand(api, b"3\r\none\r\n") == b""
        assert await anext(stream.chunks()) == b"one"
        polling = asyncio.ensure_future(runtime.get("invocation/next"))
        with pytest.raises(FunctionFailed, match=r"Runtime\.TruncatedResponse"):
            await task
        polling.cancel()

    play(scenario)


def test_chunks_for_another_request_are_refused() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        _, task = await streaming(api, runtime)
        body = sent([b"one"])
        refused = await runtime.post("invocation/id-2/response", headers=MODE, content=body)
        assert refused.status_code == 400
        await runtime.post("invocation/id-1/response", content=b"1")
        assert await task == b"1"

    play(scenario)


def test_chunks_that_come_too_late_are_refused() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        stream, task = await streaming(api, runtime)
        given_up = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            await given_up.wait()
            yield b"two"

        posting = asyncio.ensure_future(
            runtime.post("invocation/id-1/response", headers=MODE, content=body())
        )
        await stream.begun.wait()
        await anext(stream.chunks())
        task.cancel()
        await asyncio.wait({task})
        given_up.set()
        assert (await posting).status_code == 400

    play(scenario)


def test_a_stream_over_the_limit_fails_the_invocation() -> None:
    async def scenario(api: RuntimeApi, runtime: httpx.AsyncClient) -> None:
        _, task = await streaming(api, runtime)
        body = sent(bytes(1024 * 1024) for _ in range(201))
        refused = await runtime.post("invocation/id-1/response", headers=MODE, content=body)
        assert refused.status_code == 413
        with pytest.raises(FunctionFailed, match=r"Function\.ResponseSizeTooLarge"):
            await task

    assert f"({200 * 1024 * 1024} bytes)" in play(scenario)[0]
