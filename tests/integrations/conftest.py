"""What tests of middleware share: both kinds of function, and a server that takes checkpoints."""

from __future__ import annotations

import pytest

from tests.sdk.play import Mode
from tests.sdk.test_checkpoint import server

__all__ = ["mode", "server"]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen
