"""A small HTTP/1.1 server: one coroutine from request to answer. It knows nothing of Lambda.

h11 speaks the protocol; this file only moves bytes. Both sides of the local Lambda use it: the
Function URL and one Runtime API a process. An ASGI server a process would weigh far more than the
few requests it answers, and brings signal handlers and a lifespan of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeAlias

import h11

# The runtime client reports a failure's trace in a header of up to 1 MiB (awslambdaric,
# post_invocation_error); h11's own limit of 16 KiB would cut the connection.
HEAD_LIMIT = 2 * 1024 * 1024
# Far above every limit of Lambda, which the answering side enforces with the proper error.
BODY_LIMIT = 64 * 1024 * 1024
READ_SIZE = 256 * 1024

Headers = tuple[tuple[str, str], ...]
Event: TypeAlias = "h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]"


class BrokenOff(Exception):
    """One side ended in the middle of a body."""


class BodyStream:
    """A request body that is read while it comes; `trailers` are there when it has ended."""

    def __init__(self, events: Callable[[], Awaitable[Event]]) -> None:
        self._events = events
        self.trailers: Headers = ()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give each chunk as it comes. Raises BrokenOff."""
        try:
            while isinstance(event := await self._events(), h11.Data):
                yield bytes(event.data)
        except (h11.RemoteProtocolError, ConnectionError) as error:
            raise BrokenOff(f"the request broke off: {error}") from error
        assert isinstance(event, h11.EndOfMessage), "what follows data is data or the end"
        self.trailers = _headers(event.headers)


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came over the wire; header names in lower case, `target` untouched.

    `stream` has the body in place of `body`, for requests that the server was told to leave so.
    """

    method: str
    target: str
    headers: Headers
    body: bytes
    client: str
    stream: BodyStream | None = None

    def header(self, name: str, default: str = "") -> str:
        """Return the first value of the header `name` (in lower case), else `default`."""
        return next((value for key, value in self.headers if key == name), default)


@dataclass(frozen=True)
class HttpResponse:
    """An answer; content-length is added when it is sent."""

    status: int
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True)
class HttpStream:
    """An answer that leaves chunk by chunk. If `chunks` raises BrokenOff, the client is cut off."""

    status: int
    headers: Headers
    chunks: AsyncGenerator[bytes, None]


Answer: TypeAlias = HttpResponse | HttpStream


class BodyTooLarge(Exception):
    """A request body of more than BODY_LIMIT bytes: the client's fault, status 413."""


class HttpServer:
    """Serve `answer` on one listening socket until closed.

    A client that hangs up does not cancel `answer`: Lambda, too, finishes what it has begun.
    `streams` says of a request, by its head, that its body is to be read while it comes.
    """

    def __init__(
        self,
        answer: Callable[[HttpRequest], Awaitable[Answer]],
        streams: Callable[[HttpRequest], bool] = lambda request: False,
    ) -> None:
        self._answer, self._streams = answer, streams
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()
        self.address: str = ""

    async def open(self, host: str, port: int = 0) -> None:
        """Listen on `host`:`port` (0: any free one) and set `address`. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=READ_SIZE)
        # asyncio sets TCP_NODELAY on every connection; without it each exchange would wait about
        # 88 ms for Nagle's algorithm and delayed acknowledgements.
        bound_port = self._server.sockets[0].getsockname()[1]
        self.address = f"[{host}]:{bound_port}" if ":" in host else f"{host}:{bound_port}"

    async def close(self) -> None:
        """Stop listening and drop every connection, whatever it is doing; harmless twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        conversations = tuple(self._conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.ensure_future(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = _Wire(reader, writer)
        try:
            while (request := await wire.receive(self._streams)) is not None:
                await wire.send(await self._answer(request))
                if not wire.next_cycle():
                    break
        except BodyTooLarge:
            await wire.send(HttpResponse(413, (("connection", "close"),)))
        except (h11.RemoteProtocolError, ConnectionError, BrokenOff):
            pass  # nobody is left who would understand an answer, or the rest of it
        finally:
            writer.close()


class _Wire:
    """One connection: h11's state and the streams that it reads from and writes to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._client = str(writer.get_extra_info("peername", ("",))[0])
        self._method = ""

    async def receive(self, streams: Callable[[HttpRequest], bool]) -> HttpRequest | None:
        """Return the next request, None when the client has hung up."""
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        self._method = head.method.decode("ascii")
        request = HttpRequest(
            method=self._method,
            target=head.target.decode("ascii"),
            headers=_headers(head.headers),
            body=b"",
            client=self._client,
        )
        if streams(request):
            return replace(request, stream=BodyStream(self._next_event))
        return replace(request, body=await self._body())

    async def _body(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while isinstance(event := await self._next_event(), h11.Data):
            chunks.append(bytes(event.data))
            size += len(event.data)
            if size > BODY_LIMIT:
                raise BodyTooLarge(f"the request body has more than {BODY_LIMIT} bytes")
        return b"".join(chunks)

    async def _next_event(self) -> Event:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            if self._protocol.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._protocol.receive_data(await self._reader.read(READ_SIZE))
        return event

    async def send(self, response: Answer) -> None:
        """Write the whole answer, but for the body where HTTP allows none (HEAD, 204)."""
        if isinstance(response, HttpStream):
            return await self._send_stream(response)
        length = () if response.status in (204, 304) else (("content-length", len(response.body)),)
        headers = [(name, str(value)) for name, value in (*response.headers, *length)]
        self._write(h11.Response(status_code=response.status, headers=headers))
        if self._takes_body(response.status):
            self._write(h11.Data(data=response.body))
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    async def _send_stream(self, stream: HttpStream) -> None:
        # Without a length h11 frames the body in chunks, or for HTTP/1.0 by the connection's end.
        headers = [*stream.headers]
        async with aclosing(stream.chunks) as chunks:
            self._write(h11.Response(status_code=stream.status, headers=headers))
            await self._writer.drain()
            async for chunk in chunks:
                if self._takes_body(stream.status):
                    self._write(h11.Data(data=chunk))
                    await self._writer.drain()
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    def _takes_body(self, status: int) -> bool:
        return self._method != "HEAD" and status not in (204, 304)

    def _write(self, event: h11.Event) -> None:
        self._writer.write(self._protocol.send(event) or b"")

    def next_cycle(self) -> bool:
        """Make ready for another request; False when this connection must be closed."""
        if self._protocol.our_state is h11.MUST_CLOSE or self._protocol.their_state is not h11.DONE:
            return False  # also when a body was not read to its end
        self._protocol.start_next_cycle()
        return True


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("ascii"), _text(value)) for name, value in pairs)


def _text(value: bytes) -> str:
    return value.decode("latin-1")  # RFC 9110 5.5: bytes above ASCII are opaque; none is lost here
