"""A function under the official SDK, called by hand as a server calls it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import fastapi
import httpx
import inngest

with warnings.catch_warnings():
    # The official SDK configures one of its models in a way that pydantic deprecates.
    warnings.filterwarnings("ignore", "Support for class-based `config`", DeprecationWarning)
    import inngest.fast_api

URL = "http://app/api/inngest"


class OfficialApp:
    """The handler as the function `shop-f` of an app of its own."""

    def __init__(
        self,
        handler: Callable[[Any], Any],
        settings: Mapping[str, Any] | None = None,
        streaming: inngest.Streaming | None = None,
    ) -> None:
        settings = {"is_production": False, **(settings or {})}
        client = inngest.Inngest(app_id="shop", **settings)
        trigger = inngest.TriggerEvent(event="a/b")
        function = client.create_function(fn_id="f", trigger=trigger)(handler)
        self._app = fastapi.FastAPI()
        inngest.fast_api.serve(self._app, client, [function], streaming=streaming)
        self._connections = client._http_client._http_client

    def call(
        self, body: Mapping[str, Any], step: str = "step", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One call, answered."""
        return self.request("POST", f"?fnId=shop-f&stepId={step}", json=body, headers=headers)

    def request(self, method: str, query: str = "", **options: Any) -> httpx.Response:
        """One request, answered."""
        return asyncio.run(self.answer(method, query, options))

    async def answer(self, method: str, query: str, options: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app)) as http:
            answer = await http.request(method, URL + query, **options)
        await self._connections.aclose()
        return answer
