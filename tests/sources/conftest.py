"""What tests of the bridges share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.event_api import EventApi, event_api


@pytest.fixture
def api() -> Iterator[EventApi]:
    with event_api() as started:
        yield started
