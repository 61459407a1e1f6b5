"""What every test gets: an environment without the settings of whoever runs the tests."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# A slow or busy machine is no failure of the code under test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

Missing = Callable[[str], None]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every variable that would change what the code under test does."""
    for name in tuple(os.environ):
        if name.startswith(("INNGEST_", "SHOP_")):
            monkeypatch.delenv(name)


@pytest.fixture
def missing() -> Missing:
    """Skip a test for want of a tool, with the reason; in CI, where all tools are, fail it."""

    def say(reason: str) -> None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; CI has to have it")
        pytest.skip(reason)

    return say
