"""What a test hears of functions in processes of their own."""

from __future__ import annotations

import asyncio
from typing import Any


class Log:
    """What the function printed; a test may wait for a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    async def says(self, text: str) -> None:
        while text not in self:
            self._news.clear()
            await self._news.wait()


class Switchboard:
    """Where handlers report (`obedient.report_to`) and are held until they may go on."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[int] = asyncio.Queue()
        self._held: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Switchboard:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *reason: object) -> None:
        assert self._server is not None
        self.release()
        self._server.close()

    @property
    def order(self) -> dict[str, Any]:
        assert self._server is not None
        return {"do": "report", "port": self._server.sockets[0].getsockname()[1]}

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._held.append(writer)
        self.arrived.put_nowait(int(await reader.readline()))

    def release(self) -> None:
        while self._held:
            self._held.pop().close()
