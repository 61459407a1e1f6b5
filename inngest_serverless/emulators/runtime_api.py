"""The Lambda Runtime API for exactly one runtime process.

The runtime client names neither itself nor its process, so each process is given a listening
socket of its own: whoever speaks here is that process. This file starts and kills nothing.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inngest_serverless.emulators.http_server import HttpRequest, HttpResponse, HttpServer

PREFIX = "/2018-06-01/runtime/"
PAYLOAD_LIMIT = 6_291_556
"""Bytes of JSON that Lambda accepts as an event and as a result (Lambda quotas: 6 MB)."""


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


class RuntimeApi:
    """Hand one process its invocations, one at a time, and take back what it makes of them."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._server = HttpServer(self._answer)
        self._log = log
        self._poll: asyncio.Future[Invocation] | None = None
        self._polled = asyncio.Event()  # also set at the end, to wake whoever waits for a poll
        self._request_id = ""
        self._result: asyncio.Future[bytes] | None = None
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

    async def invoke(self, invocation: Invocation) -> bytes:
        """Hand over to the idle runtime and return its result as posted.

        Raises FunctionFailed, and RuntimeGone when the runtime ended before it was handed over.
        When cancelled the invocation is given up: its result, should one come, is refused.
        """
        if self.end is not None:
            raise RuntimeGone(str(self.end)) from self.end
        assert self._poll is not None and self.idle, "only an idle runtime takes an invocation"
        self._request_id = invocation.request_id
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
            return self._refuse_result(_result_too_large(len(body)))
        self._result.set_result(body)
        return ACCEPTED

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


def _failure_from(request: HttpRequest) -> FunctionFailed:
    header_type = request.header("lambda-runtime-function-error-type", "Runtime.Unknown")
    try:
        report: Any = json.loads(request.body)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        return FunctionFailed(header_type, request.body.decode("utf-8", "replace"))
    return FunctionFailed(
        str(report.get("errorType") or header_type),
        str(report.get("errorMessage") or ""),
        tuple(str(line) for line in report.get("stackTrace") or ()),
    )


def _result_too_large(size: int) -> FunctionFailed:
    return FunctionFailed(
        "Function.ResponseSizeTooLarge",
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size "
        f"({PAYLOAD_LIMIT} bytes).",
    )


def _unknown(request_id: str) -> HttpResponse:
    return _refusal(400, "InvalidRequestID", f"Invalid request ID: {request_id} is not in progress")


def _refusal(status: int, error_type: str, message: str) -> HttpResponse:
    return _json(status, {"errorMessage": message, "errorType": error_type})


def _json(status: int, value: dict[str, str]) -> HttpResponse:
    return HttpResponse(status, (("content-type", "application/json"),), json.dumps(value).encode())


ACCEPTED = _json(202, {"status": "OK"})
