"""The small HTTP server, spoken to in bytes."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from inngest_serverless.emulators.http_server import (
    Answer,
    BrokenOff,
    HttpRequest,
    HttpResponse,
    HttpServer,
    HttpStream,
)

Scenario = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def play(scenario: Scenario) -> list[HttpRequest]:
    """Run `scenario` on a connection to a server that echoes bodies; return what it received."""
    received: list[HttpRequest] = []

    async def echo(request: HttpRequest) -> Answer:
        received.append(request)
        if request.stream is not None:
            return HttpStream(200, (("x-echo", "yes"),), request.stream.chunks())
        if request.target == "/broken":
            return HttpStream(200, (), broken())
        return HttpResponse(200, (("x-echo", "yes"),), request.body)

    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"some"
        raise BrokenOff("the rest is lost")

    async def main() -> None:
        server = HttpServer(echo, lambda request: request.target == "/stream")
        await server.open("127.0.0.1")
        host, _, port = server.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await asyncio.wait_for(scenario(reader, writer), 30)
        writer.close()
        await server.close()
        await server.close()

    asyncio.run(main())
    return received


def test_requests_follow_each_other_on_one_connection() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in (b"one", b"two"):
            writer.write(b"PUT /?a=%41 HTTP/1.1\r\nHOST: h\r\nContent-Length: 3\r\n\r\n" + body)
            answer = await reader.readuntil(body)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"x-echo: yes\r\n" in answer

    received = play(scenario)
    assert [request.body for request in received] == [b"one", b"two"]
    assert received[0].target == "/?a=%41"
    assert received[0].headers == (("host", "h"), ("content-length", "3"))


def test_a_chunked_body_arrives_whole() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
        await reader.readuntil(b"abcde")

    assert play(scenario)[0].body == b"abcde"


def test_a_client_that_asks_before_it_sends_is_told_to_go_on() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"ok")
        await reader.readuntil(b"ok")

    play(scenario)


def test_a_connection_is_closed_when_the_client_wants_it_closed() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.endswith(b"\r\n\r\n")

    play(scenario)


def test_what_is_not_http_ends_the_connection() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01 not http\r\n\r\n")
        assert await reader.read() == b""

    assert play(scenario) == []


def test_a_body_without_end_is_cut_off() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n")
        writer.write(b"x" * (64 * 1024 * 1024 + 1))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")

    assert play(scenario) == []


@pytest.mark.parametrize("target", [b"/", b"/broken"])
def test_a_head_request_is_answered_without_a_body(target: bytes) -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b" HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
        writer.write(b"HEAD " + target + head)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n")

    play(scenario)


def test_a_body_is_streamed_in_and_out_chunk_by_chunk_and_its_trailers_kept() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in (b"one", b"two"):
            writer.write(b"3\r\n" + chunk + b"\r\n")
            assert (await reader.readuntil(chunk)).endswith(chunk)
        writer.write(b"0\r\nX-End: all\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nnext")
        await reader.readuntil(b"next")

    streamed, _ = play(scenario)
    assert streamed.stream is not None
    assert streamed.stream.trailers == (("x-end", "all"),)


def test_an_answer_that_breaks_off_has_no_end() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await reader.read()).endswith(b"4\r\nsome\r\n")

    play(scenario)


def test_a_request_that_breaks_off_ends_the_answer_that_streams_it() -> None:
    async def scenario(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\none\r\n")
        await reader.readuntil(b"one")
        writer.write(b"no chunk\r\n")
        assert await reader.read() == b"\r\n"

    play(scenario)


def test_a_connection_whose_body_was_not_read_is_closed() -> None:
    async def refuse(request: HttpRequest) -> HttpResponse:
        return HttpResponse(400)

    async def main() -> bytes:
        server = HttpServer(refuse, lambda request: True)
        await server.open("127.0.0.1")
        host, _, port = server.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await server.close()
        return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.1 400")
