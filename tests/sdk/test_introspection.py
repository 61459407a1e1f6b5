"""Introspection: what strangers see, and what Inngest sees."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from inngest_sdk import wire
from inngest_sdk.client import Inngest
from inngest_sdk.function import TriggerEvent
from inngest_sdk.http import Request, dumps
from inngest_sdk.introspection import inspect

KEY = "signkey-prod-7468697320697320612074657374206b6579"
GET = Request("GET", "https://shop.example/prod/api/inngest?code=hidden")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INNGEST_DEV", "INNGEST_EVENT_KEY", "INNGEST_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)


def app(**arguments: Any) -> Inngest:
    client = Inngest(app_id="shop", **arguments)

    @client.create_function(
        fn_id="mail", trigger=TriggerEvent(event="e"), on_failure=lambda ctx: None
    )
    def mail(ctx: object) -> None: ...

    return client


@pytest.mark.parametrize("authenticated", [None, False])
def test_a_stranger_sees_counts_and_flags(authenticated: bool | None) -> None:
    described = inspect(app(), GET, framework="aws-lambda", authenticated=authenticated)

    assert described == {
        "schema_version": "2024-05-24",
        "authentication_succeeded": authenticated,
        "function_count": 1,
        "has_event_key": False,
        "has_signing_key": False,
        "has_signing_key_fallback": False,
        "mode": "cloud",
        "extra": {"request_url": "https://shop.example/prod/api/inngest"},
    }


def test_inngest_sees_how_the_app_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", "beef")
    monkeypatch.setenv("INNGEST_SERVE_PATH", "/jobs")
    client = app(is_production=False, event_key="k", signing_key=KEY, env="branch")

    described = inspect(client, GET, framework="aws-lambda", authenticated=True)

    assert described == {
        "schema_version": "2024-05-24",
        "authentication_succeeded": True,
        "function_count": 1,
        "has_event_key": True,
        "has_signing_key": True,
        "has_signing_key_fallback": True,
        "mode": "dev",
        "extra": {"request_url": "https://shop.example/prod/api/inngest"},
        "api_origin": "http://localhost:8288",
        "app_id": "shop",
        "capabilities": {"in_band_sync": "v1", "trust_probe": "v1"},
        "env": "branch",
        "event_api_origin": "http://localhost:8288",
        "event_key_hash": hashlib.sha256(b"k").hexdigest(),
        "framework": "aws-lambda",
        "sdk_language": "py",
        "sdk_version": wire.VERSION,
        "serve_origin": None,
        "serve_path": "/jobs",
        "signing_key_fallback_hash": hashlib.sha256(b"\xbe\xef").hexdigest()[:12],
        "signing_key_hash": "ed30c6342373",
    }


def test_without_keys_there_are_no_hashes() -> None:
    described = inspect(app(), GET, framework="f", authenticated=True)

    assert described["event_key_hash"] is None
    assert described["signing_key_hash"] is None


def test_nothing_that_authenticates_calls_is_shown() -> None:
    client = app(event_key="k3y", signing_key=KEY)

    shown = dumps(inspect(client, GET, framework="f", authenticated=True)).decode()

    for secret in ("k3y", "hidden", KEY, "ed30c63423735b44011c49a38c01a8062833420cfb29"):
        assert secret not in shown
