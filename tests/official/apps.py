"""The two apps, each served as its own SDK serves it."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import fastapi
import httpx
import inngest

import inngest_serverless
from inngest_serverless import asgi
from inngest_serverless.asgi import ASGIApp
from tests.official import official, ours
from tests.official.scenarios import Sent

with warnings.catch_warnings():
    # The official SDK configures one of its models in a way that pydantic deprecates.
    warnings.filterwarnings("ignore", "Support for class-based `config`", DeprecationWarning)
    import inngest.fast_api


@dataclass(frozen=True)
class App:
    """An app as its server sees it, how it sends events, and what is left to close."""

    asgi: ASGIApp
    send: Callable[[Sequence[Sent]], Awaitable[list[str]]]
    connections: httpx.AsyncClient | None = None


MakeApp: TypeAlias = Callable[..., App]


def official_app(**settings: Any) -> App:
    client = inngest.Inngest(app_id="shop", **settings)
    app = fastapi.FastAPI()
    inngest.fast_api.serve(app, client, official.functions(client))
    return App(
        app,
        lambda events: client.send([inngest.Event(**each) for each in events]),
        # The official SDK never closes its connections, nor lets anyone else.
        connections=client._http_client._http_client,
    )


def our_app(**settings: Any) -> App:
    client = inngest_serverless.Inngest(app_id="shop", **settings)
    ours.functions(client)
    return App(
        asgi.serve(client),
        lambda events: client.send([inngest_serverless.Event(**each) for each in events]),
    )


def our_app_without_checkpoints(**settings: Any) -> App:
    return our_app(checkpointing=False, **settings)
