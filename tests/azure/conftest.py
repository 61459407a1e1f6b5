"""Function apps for tests that share them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from inngest_serverless.emulators.local_function_app import missing_runtime

from .running import STREAMING_APP, Running, running


@pytest.fixture(scope="session")
def runtime() -> None:
    """Microsoft's runtime is there; else the test is skipped, and in CI it fails."""
    missing = missing_runtime()
    if missing is not None and os.environ.get("CI") == "true":
        pytest.fail(f"{missing}; CI has to have it")
    if missing is not None:
        pytest.skip(missing)


@pytest.fixture(scope="package")
def served(runtime: None) -> Iterator[Running]:
    """apps/function_app.py, in dev mode."""
    with running() as app:
        yield app


@pytest.fixture(scope="package")
def streaming(runtime: None) -> Iterator[Running]:
    """apps/streaming_app.py, in dev mode."""
    with running(STREAMING_APP) as app:
        yield app
