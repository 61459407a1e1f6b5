"""How an answer leaves when it takes long: alive from the first byte, and whole at the last.

Front ends (gateways, proxies, load balancers) cut connections on which nothing moves, long before
a slow step has ended. A stream keeps them open (wire.md A13): status 201, a blank every few
seconds while the answer is made, then one JSON document with that answer's status, headers and
body. What streams is the Response that would have left otherwise; nothing else knows of it.

    Streaming   ready before the first heartbeat is due     later
    DISABLE     the answer                                  the answer
    ALLOW       the answer                                  a stream
    FORCE       a stream                                    a stream

Only calls of functions stream, and only once there is something to wait for: what is refused at
the door (a signature, an unknown function) is answered with its own status, also under FORCE. A
stream has no signature: its first bytes leave before anybody knows the last.

The work is not tied to who waits for it. A client that hangs up leaves a step to run to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from inngest_sdk import endpoint, signing, wire
from inngest_sdk.approval_link import is_followed
from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.drive import drive, drive_async
from inngest_sdk.effects import Effect, Flow, Now, Reveal
from inngest_sdk.endpoint import Entrypoint, finish, is_trust_probe, too_large
from inngest_sdk.errors import ProtocolError, SecretUnavailableError, UnreachableError
from inngest_sdk.http import Request, Response, dumps

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

HEARTBEAT = b" "
MAX_WORKERS = 256  # streams made at once by one process; the next waits, its heart beating

Chunks = TypeVar("Chunks", Iterator[bytes], AsyncIterator[bytes])


@dataclass(frozen=True)
class Streamed(Generic[Chunks]):
    """An answer that leaves in chunks. `headers` has lower-case names; there is no length."""

    headers: Mapping[str, str]
    chunks: Chunks
    status: int = 201


class Work(Protocol):
    """An answer in the making, in a thread or a task (a Future of either kind)."""

    def cancelled(self) -> bool:
        """Whether it will never be."""
        ...

    def exception(self) -> BaseException | None:
        """What went wrong, if something did."""
        ...

    def result(self) -> Response:
        """The answer."""
        ...


def serve(
    client: Inngest,
    request: Request,
    entrypoint: Entrypoint,
    *,
    now: float,
    deadline: float | None = None,
) -> Response | Streamed[Iterator[bytes]]:
    """Answer one request, blocking; see `endpoint.serve`.

    A stream's chunks are for a server that pulls them. The answer is made in another thread.
    """
    flow = endpoint.serve(client, request, entrypoint, now=now, deadline=deadline)
    mode = _mode(client, request, entrypoint)
    if mode is Streaming.DISABLE:
        return drive(flow)
    begun = drive(_begun(flow))
    if isinstance(begun, Response):
        return begun
    from contextvars import copy_context

    work = _workers().submit(copy_context().run, drive, begun)
    if mode is Streaming.ALLOW and _ended(work, entrypoint):
        return _answer_of(work, client, entrypoint)

    def chunks() -> Iterator[bytes]:
        yield HEARTBEAT
        while not _ended(work, entrypoint):
            yield HEARTBEAT
        yield _document(_answer_of(work, client, entrypoint), entrypoint)

    return Streamed(_head(entrypoint), chunks())


async def serve_async(
    client: Inngest,
    request: Request,
    entrypoint: Entrypoint,
    *,
    now: float,
    deadline: float | None = None,
) -> Response | Streamed[AsyncIterator[bytes]]:
    """Answer one request on the running loop; see `endpoint.serve`."""
    flow = endpoint.serve(client, request, entrypoint, now=now, deadline=deadline)
    mode = _mode(client, request, entrypoint)
    if mode is Streaming.DISABLE:
        return await drive_async(flow)
    begun = await drive_async(_begun(flow))
    if isinstance(begun, Response):
        return begun
    work = _task(begun)
    if mode is Streaming.ALLOW and await _ended_async(work, entrypoint):
        return _answer_of(work, client, entrypoint)

    async def chunks() -> AsyncIterator[bytes]:
        yield HEARTBEAT
        while not await _ended_async(work, entrypoint):
            yield HEARTBEAT
        yield _document(_answer_of(work, client, entrypoint), entrypoint)

    return Streamed(_head(entrypoint), chunks())


def _mode(client: Inngest, request: Request, entrypoint: Entrypoint) -> Streaming:
    settled = entrypoint.streaming or client.config.streaming
    is_call = request.method == "POST" and not (is_trust_probe(request) or is_followed(request))
    # What is none of these is left to the endpoint, which answers with what is wrong.
    is_on = settled in (Streaming.ALLOW, Streaming.FORCE) and entrypoint.can_stream
    return settled if is_call and is_on else Streaming.DISABLE


def _begun(flow: Flow[Response]) -> Flow[Response | Flow[Response]]:
    """The answer, if nothing has to be waited for but keys, which decide who is let in; otherwise
    the rest of the flow."""
    try:
        effect = next(flow)
        while isinstance(effect, (Now, Reveal)):
            try:
                answer = yield effect
            except SecretUnavailableError as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as stop:
        response: Response = stop.value
        return response
    return _rest(flow, effect)


def _rest(flow: Flow[Response], effect: Effect) -> Flow[Response]:
    """A flow that has asked for an effect already, as one that is still to be begun."""
    try:
        while True:
            try:
                answer = yield effect
            except (SecretUnavailableError, UnreachableError) as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as stop:
        response: Response = stop.value
        return response


def disown() -> None:
    """Forget the threads: none of them is in a process that was forked from this one."""
    _workers.cache_clear()


@cache
def _workers() -> ThreadPoolExecutor:
    # Threads that stay: the connections that async user code keeps belong to its thread's loop.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(MAX_WORKERS, "inngest-stream")


_tasks: set[asyncio.Task[Response]] = set()  # a loop itself would let them be collected


def _task(flow: Flow[Response]) -> asyncio.Task[Response]:
    import asyncio

    task = asyncio.ensure_future(drive_async(flow))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def _ended(work: Future[Response], entrypoint: Entrypoint) -> bool:
    from concurrent.futures import wait

    return bool(wait([work], entrypoint.heartbeat_seconds).done)


async def _ended_async(work: asyncio.Task[Response], entrypoint: Entrypoint) -> bool:
    import asyncio

    done, _ = await asyncio.wait([work], timeout=entrypoint.heartbeat_seconds)
    return bool(done)


def _answer_of(work: Work, client: Inngest, entrypoint: Entrypoint) -> Response:
    """The answer that was made; where the making broke down, one that says so: by now there may
    be a stream whose end somebody waits for."""
    error = None if work.cancelled() else work.exception()
    if not work.cancelled() and error is None:
        return work.result()
    what = "was cancelled" if error is None else f"broke down with {type(error).__name__}: {error}"
    client.logger.error("inngest: the work on an answer %s", what, exc_info=error)
    return finish(wire.refused(ProtocolError(f"the work on this answer {what}")), entrypoint)


def _head(entrypoint: Entrypoint) -> dict[str, str]:
    # Besides what tells of an SDK: nginx, which would collect the blanks, lets them pass at this.
    headers = wire.sdk_headers(entrypoint.framework, entrypoint.platform)
    return {**headers, "x-accel-buffering": "no"}


def _document(response: Response, entrypoint: Entrypoint) -> bytes:
    document = _enveloped(response)
    limit = entrypoint.max_response_bytes
    if len(document) <= limit:
        return document
    carrier = f"{entrypoint.limit_name} (which counts it as the JSON string that it streams in)"
    return _enveloped(finish(too_large(len(document), limit, carrier), entrypoint))


def _enveloped(response: Response) -> bytes:
    headers = {name: text for name, text in response.headers.items() if name != signing.HEADER}
    body = response.body.decode()
    return dumps({"status": response.status, "headers": headers, "body": body})
