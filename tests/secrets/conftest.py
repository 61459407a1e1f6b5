"""What tests of references share: a store of their own, and a process that keeps no secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inngest_sdk import config, keys
from tests.secrets.store import SCHEME, Store


@pytest.fixture
def store() -> Iterator[Store]:
    """A store whose secrets are referred to as `shelf:NAME`."""
    store = Store()
    keys.register(SCHEME, store.fetch)
    yield store
    keys.forget()
    config.schemes.discard(SCHEME)
