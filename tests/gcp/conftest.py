"""A function in each mode of functions-framework, for tests that share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import MODES, Running, running


@pytest.fixture(params=MODES, scope="module", name="served")
def served_fixture(request: pytest.FixtureRequest) -> Iterator[Running]:
    """The app of apps/shop.py, in either mode."""
    with running(request.param) as function:
        yield function
