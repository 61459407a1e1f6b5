"""The Lambda Runtime API for exactly one runtime process.

The runtime client names neither itself nor its process, so each process is given a listening
socket of its own: whoever speaks here is that process. This file starts and kills nothing.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inngest_serverless.emulators.http_server import (
    BodyStream,
    HttpRequest,
    HttpResponse,
    HttpServer,
)

PREFIX = "/2018-06-01/runtime/"
PAYLOAD_LIMIT = 6_291_556
"""Bytes of JSON that Lambda accepts as an event and as a result (Lambda quotas: 6 MB)."""

STREAM_LIMIT = 200 * 1024 * 1024
"""Bytes that Lambda passes on of a streamed result."""
ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"
STREAMED = "application/octet-stream"
"""The content type of a streamed result that names none."""


class FunctionFailed(Exception):
    """The function did not produce a result: it raised, timed out, crashed or could not start.

    `error_type` is Lambda's name for it: the exception's class for a handler that raised, else
    `Sandbox.Timedout`, `Runtime.ExitError`, `Runtime.ImportModuleError`, ...
    """

    def __init__(self, error_type: str, message: str, trace: tuple[str, ...] = ()) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.trace = trace


class RuntimeGone(Exception):
    """The runtime ended before it took the invocation, which may safely go to another one."""


@dataclass(frozen=True)
class Invocation:
    """One event on its way to a runtime; `deadline_ms` counts from the epoch."""

    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str
    trace_id: str


class ResultStream:
    """A result that the runtime posts in chunks, on its way to whoever asked for it."""

    def __init__(self) -> None:
        self.content_type: str = ""
        self.begun: asyncio.Event = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    def begin(self, content_type: str) -> None:
        """Note that the first chunk is on its way."""
        self.content_type = content_type
        self.begun.set()

    def write(self, chunk: bytes) -> None:
        """Pass a chunk on."""
        self._chunks.put_nowait(chunk)

    def end(self) -> None:
        """Note that no more will come, whether that was all or not."""
        self._chunks.put_nowait(None)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give each chunk as it comes, until the end."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk


class RuntimeApi:
    """Hand one process its invocations, one at a time, and take back what it makes of them."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._server = HttpServer(self._answer, _is_streamed)
        self._log = log
        self._poll: asyncio.Future[Invocation] | None = None
        self._polled = asyncio.Event()  # also set at the end, to wake whoever waits for a poll
        self._request_id = ""
        self._result: asyncio.Future[bytes] | None = None
        self._stream = ResultStream()
        self.end: FunctionFailed | None = None

    @property
    def address(self) -> str:
        """host:port, as AWS_LAMBDA_RUNTIME_API wants it."""
        return self._server.address

    @property
    def idle(self) -> bool:
        """The runtime waits in `next`: an invocation would start at once."""
        return self.end is None and self._poll is not None and not self._poll.done()

    async def open(self, host: str) -> None:
        await self._server.open(host)

    async def close(self) -> None:
        await self._server.close()

    async def wait_idle(self) -> None:
        """Wait for the runtime to ask for work. Raises RuntimeGone when it never will."""
        while not self.idle:
            if self.end is not None:
                raise RuntimeGone(str(self.end)) from self.end
            self._polled.clear()
            await self._polled.wait()

    async def invoke(self, invocation: Invocation, stream: ResultStream) -> bytes:
        """Hand over to the idle runtime and return its result as posted.

        Of a result that is posted in chunks `stream` is given each as it comes, and what is
        returned, when all have come, is empty.

        Raises FunctionFailed, and RuntimeGone when the runtime ended before it was handed over.
        When cancelled the invocation is given up: its result, should one come, is refused.
        """
        if self.end is not None:
            raise RuntimeGone(str(self.end)) from self.end
        assert self._poll is not None and self.idle, "only an idle runtime takes an invocation"
        self._request_id, self._stream = invocation.request_id, stream
        self._result = asyncio.get_running_loop().create_future()
        self._poll.set_result(invocation)
        try:
            return await self._result
        finally:
            self._result = None

    def finish(self, failure: FunctionFailed) -> None:
        """Note that the process is going or gone; the first reason given is the one kept."""
        self.end = self.end or failure
        self._fail(self.end)
        self._polled.set()

    def _fail(self, failure: FunctionFailed) -> None:
        if self._result is not None and not self._result.done():
            self._result.set_exception(failure)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        path = request.target.removeprefix(PREFIX).split("/")
        match (request.method, *path):
            case ("GET", "invocation", "next"):
                return await self._next()
            case ("POST", "invocation", request_id, "response") if request.stream is not None:
                return await self._take_stream(request_id, request, request.stream)
            case ("POST", "invocation", request_id, "response"):
                return self._take_result(request_id, request.body)
            case ("POST", "invocation", request_id, "error"):
                return self._take_error(request_id, request)
            case ("POST", "init" | "restore", "error"):
                self.finish(_failure_from(request))
                return ACCEPTED
            case ("GET", "restore", "next"):
                return HttpResponse(200)  # SnapStart: nothing is frozen here, so restored at once
        return _refusal(404, "InvalidPath", f"no {request.method} {request.target} here")

    async def _next(self) -> HttpResponse:
        if self._expects(self._request_id):
            reason = "the runtime asked for more work before it had answered"
            self._fail_stream(FunctionFailed("Runtime.TruncatedResponse", reason))
        self._poll = asyncio.get_running_loop().create_future()
        self._polled.set()
        invocation = await self._poll
        headers = (
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", invocation.request_id),
            ("lambda-runtime-deadline-ms", str(invocation.deadline_ms)),
            ("lambda-runtime-invoked-function-arn", invocation.function_arn),
            ("lambda-runtime-trace-id", invocation.trace_id),
            ("lambda-runtime-invocation-id", invocation.request_id),
        )
        return HttpResponse(200, headers, invocation.event)

    def _take_result(self, request_id: str, body: bytes) -> HttpResponse:
        if not self._expects(request_id):
            return _unknown(request_id)
        assert self._result is not None
        if len(body) > PAYLOAD_LIMIT:
            return self._refuse_result(_result_too_large(len(body), PAYLOAD_LIMIT))
        self._result.set_result(body)
        return ACCEPTED

    async def _take_stream(
        self, request_id: str, request: HttpRequest, body: BodyStream
    ) -> HttpResponse:
        if not self._expects(request_id):
            return _unknown(request_id)
        stream, size = self._stream, 0
        stream.begin(request.header("content-type", STREAMED))
        # A stream that breaks off fails the invocation when it is known why: when the process has
        # ended, or asks for more work.
        async for chunk in body.chunks():
            if not self._expects(request_id):  # it was given up in the meantime
                return _unknown(request_id)
            size += len(chunk)
            if size > STREAM_LIMIT:
                return self._refuse_result(_result_too_large(size, STREAM_LIMIT))
            stream.write(chunk)
        if (failure := _failure_in(dict(body.trailers))) is not None:
            self._fail_stream(failure)
        elif self._expects(request_id):
            assert self._result is not None
            self._result.set_result(b"")
        return ACCEPTED

    def _fail_stream(self, failure: FunctionFailed) -> None:
        self._log(f"RequestId: {self._request_id} Error: {failure}")
        self._fail(failure)

    def _refuse_result(self, failure: FunctionFailed) -> HttpResponse:
        self._log(f"RequestId: {self._request_id} Error: {failure}")
        self._fail(failure)
        return _refusal(413, "RequestEntityTooLarge", failure.message)

    def _take_error(self, request_id: str, request: HttpRequest) -> HttpResponse:
        if not self._expects(request_id):
            return _unknown(request_id)
        self._fail(_failure_from(request))
        return ACCEPTED

    def _expects(self, request_id: str) -> bool:
        pending = self._result is not None and not self._result.done()
        return pending and request_id == self._request_id


def _is_streamed(request: HttpRequest) -> bool:
    return request.header("lambda-runtime-function-response-mode") == "streaming"


def _failure_from(request: HttpRequest) -> FunctionFailed:
    return _failure(request.header(ERROR_TYPE, "Runtime.Unknown"), request.body)


def _failure_in(trailers: Mapping[str, str]) -> FunctionFailed | None:
    """The failure that a streamed result ended with; None if it is complete."""
    if ERROR_TYPE not in trailers:
        return None
    try:
        report = base64.b64decode(trailers.get(ERROR_BODY, ""), validate=True)
    except ValueError:
        report = b""
    return _failure(trailers[ERROR_TYPE], report)


def _failure(header_type: str, body: bytes) -> FunctionFailed:
    try:
        report: Any = json.loads(body)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        return FunctionFailed(header_type, body.decode("utf-8", "replace"))
    return FunctionFailed(
        str(report.get("errorType") or header_type),
        str(report.get("errorMessage") or ""),
        tuple(str(line) for line in report.get("stackTrace") or ()),
    )


def _result_too_large(size: int, limit: int) -> FunctionFailed:
    return FunctionFailed(
        "Function.ResponseSizeTooLarge",
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size "
        f"({limit} bytes).",
    )


def _unknown(request_id: str) -> HttpResponse:
    return _refusal(400, "InvalidRequestID", f"Invalid request ID: {request_id} is not in progress")


def _refusal(status: int, error_type: str, message: str) -> HttpResponse:
    return _json(status, {"errorMessage": message, "errorType": error_type})


def _json(status: int, value: dict[str, str]) -> HttpResponse:
    return HttpResponse(status, (("content-type", "application/json"),), json.dumps(value).encode())


ACCEPTED = _json(202, {"status": "OK"})
