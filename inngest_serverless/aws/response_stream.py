"""Answers that leave AWS's runtime for Python in chunks, each when it is made.

The Runtime API takes results in chunks, and Function URLs and REST APIs can pass them on; but AWS's
runtime client for Python (awslambdaric) posts a result only whole. So, where an app asks for
streaming, the client that runs this process is taught a second kind of result, at two places: its
marshaller, which it lets functions replace, and the method that posts a result. All else, its log,
its hooks, its workers, stays its own. A client that looks other than those this was tried with
(2.0 to 4.2) is left alone, and answers leave whole.

    POST /2018-06-01/runtime/invocation/ID/response      chunked
    prelude   status and headers, as JSON
    8 NULs
    body      chunk by chunk
    trailers  only where the body broke off: the error's type and, in base64, the error

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from types import ModuleType
from typing import Any

RESPONSE_PATH = "/2018-06-01/runtime/invocation/{}/response"
CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
END_OF_PRELUDE = b"\0" * 8
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
HEADERS = {
    "Content-Type": CONTENT_TYPE,
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Transfer-Encoding": "chunked",
    "Trailer": f"{ERROR_TYPE}, {ERROR_BODY}",
}

LOG = logging.getLogger("inngest_serverless")


class ChunkedAnswer(dict[str, Any]):
    """An answer to be posted in chunks.

    As a dict it is what the handler would return elsewhere, for decorators that look at answers,
    and for those that put another dict in its place: that one is posted whole.
    """

    def __init__(
        self, whole: Mapping[str, Any], prelude: Mapping[str, Any], chunks: Iterator[bytes]
    ) -> None:
        super().__init__(whole)
        self.prelude = prelude
        self.chunks = chunks


@cache
def runtime_streams() -> bool:
    """Whether the runtime of this process posts a ChunkedAnswer in chunks; teaches it to.

    Where it cannot be taught, the log says so, once.
    """
    try:
        _teach(sys.modules.get("awslambdaric.lambda_runtime_client"))
    except UnknownRuntime as error:
        LOG.warning(
            "streaming is on, but %s, so answers leave whole. The front door must expect that: set "
            "the Function URL's invoke mode to BUFFERED (of a REST API, the response transfer "
            "mode), and INNGEST_STREAMING to disable.",
            error,
        )
        return False
    return True


class UnknownRuntime(Exception):
    """The process is not run by a runtime client that can be taught to stream."""


def _teach(client_module: ModuleType | None) -> None:
    if client_module is None:
        raise UnknownRuntime("this process is not run by AWS's runtime client for Python")
    client = _client_class(client_module)
    post_whole: Callable[..., object] = client.post_invocation_result

    @wraps(post_whole)  # so that it looks as before to whoever asks again
    def post_invocation_result(
        self: Any,
        invoke_id: str,
        result_data: Any,
        content_type: str = "application/json",
        *more: Any,
        **named: Any,
    ) -> object:
        if not isinstance(result_data, _Posted):
            return post_whole(self, invoke_id, result_data, content_type, *more, **named)
        invocation_id = more[0] if more else named.get("invocation_id")
        try:
            _post(self.lambda_runtime_address, invoke_id, invocation_id, result_data.answer)
        except Exception as error:
            handle = getattr(self, "handle_exception", None)  # since 4.0
            if handle is None:
                raise
            handle(error)
        return None

    client.marshaller = _Marshaller(client.marshaller)
    client.post_invocation_result = post_invocation_result


def _client_class(module: ModuleType) -> Any:
    """The class whose instance posts results; raises UnknownRuntime if it does so another way."""
    client = getattr(module, "BaseLambdaRuntimeClient", None)
    client = client or getattr(module, "LambdaRuntimeClient", None)
    post = getattr(client, "post_invocation_result", None)
    settings = _parameters(getattr(client, "__init__", None))
    known = ["self", "invoke_id", "result_data", "content_type", "invocation_id"]
    fits = (
        _parameters(post) in (known, known[:4])
        and "lambda_runtime_address" in settings
        and callable(getattr(getattr(client, "marshaller", None), "marshal_response", None))
    )
    if not fits:
        version = getattr(sys.modules.get("awslambdaric"), "__version__", "of unknown version")
        raise UnknownRuntime(f"awslambdaric {version} is not one that this package can have stream")
    return client


def _parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters) if callable(function) else []


class _Posted(bytes):
    """A ChunkedAnswer on its way from the marshaller to the post, which both take bytes."""

    answer: ChunkedAnswer


class _Marshaller:
    """The runtime client's own marshaller, but for a ChunkedAnswer."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)

    def marshal_response(self, response: Any) -> Any:
        if not isinstance(response, ChunkedAnswer):
            return self._usual.marshal_response(response)
        posted = _Posted()
        posted.answer = response
        return posted, CONTENT_TYPE


def _post(address: str, request_id: str, invocation_id: str | None, answer: ChunkedAnswer) -> None:
    import http.client  # where answers stream

    headers = dict(HEADERS)
    if invocation_id:
        headers["Lambda-Runtime-Invocation-Id"] = invocation_id
    connection = http.client.HTTPConnection(address)
    try:
        connection.request("POST", RESPONSE_PATH.format(request_id), _frames(answer), headers)
        response = connection.getresponse()
        said = response.read()
    finally:
        connection.close()
    if response.status != 202:
        raise RuntimeError(
            f"the Lambda Runtime API refused a streamed answer: {response.status} {said[:200]!r}"
        )


def _frames(answer: ChunkedAnswer) -> Iterator[bytes]:
    """The request's body, framed for HTTP by hand: http.client knows no trailers."""
    yield _frame(json.dumps(answer.prelude).encode() + END_OF_PRELUDE)
    trailers = b""
    try:
        for chunk in answer.chunks:
            if chunk:  # an empty one would end the body
                yield _frame(chunk)
    except Exception as error:
        LOG.exception("an answer broke off in the middle of its stream")
        trailers = _trailers(error)
    yield b"0\r\n" + trailers + b"\r\n"


def _frame(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


def _trailers(error: Exception) -> bytes:
    import base64
    import traceback

    name = type(error).__name__
    kind = name if name.isidentifier() else "Error"  # a class may be called anything
    trace = traceback.format_list(traceback.extract_tb(error.__traceback__))
    report = {"errorMessage": str(error), "errorType": kind, "stackTrace": trace}
    body = base64.b64encode(json.dumps(report).encode()).decode()
    lines = f"{ERROR_TYPE}: {kind}\r\n{ERROR_BODY}: {body}\r\n"
    return lines.encode("ascii", "backslashreplace")
