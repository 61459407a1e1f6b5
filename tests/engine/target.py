"""A server for the engine's own requests: it keeps each as it came, to the letter."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request; header names as they were written."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to answer. `held`: only when this is set."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), headers)


CUT_OFF = None
"""Instead of an answer: close the connection."""


class Target:
    """Answers in this order, and then with the last one for ever."""

    def __init__(self, *answers: Answer | None) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.origin = ""
        self._news = asyncio.Event()

    async def until_asked(self, times: int = 1) -> None:
        while len(self.asked) < times:
            self._news.clear()
            await self._news.wait()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Target]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.asked.append(await _request(reader))
            self._news.set()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is not None:
                if answer.held is not None:
                    await answer.held.wait()
                writer.write(_bytes(answer))
                await writer.drain()
        writer.close()


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    size = int(headers.get("Content-Length", "0"))
    return Asked(method, path, headers, await reader.readexactly(size))


def _bytes(answer: Answer) -> bytes:
    sizes = {"content-length": str(len(answer.body)), "connection": "close"}
    lines: Iterable[str] = (
        f"{name}: {value}" for name, value in {**sizes, **answer.headers}.items()
    )
    head = "\r\n".join([f"HTTP/1.1 {answer.status} Whatever", *lines])
    return f"{head}\r\n\r\n".encode() + answer.body
