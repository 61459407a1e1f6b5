"""The front doors, each opened when its first behaviour is tried and closed after its last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from inngest_serverless.emulators.local_function_app import missing_runtime
from tests.contract.doors import FRONT_DOORS, Door
from tests.contract.inngest_server import InngestServer, inngest_server
from tests.contract.sites import Functions
from tests.contract.table import doors_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try a behaviour through each door that can have it."""
    if "door" in metafunc.fixturenames:
        doors = doors_of(metafunc.function.__name__)
        metafunc.parametrize("opened", doors, indirect=True, scope="session")


@pytest.fixture(scope="session")
def contract_server() -> Iterator[InngestServer]:
    """The Inngest server that every app knows."""
    with inngest_server() as server:
        yield server


@pytest.fixture(scope="session")
def contract_functions() -> Iterator[Functions]:
    """The Lambda functions that several doors lead to."""
    with ExitStack() as running:
        yield Functions(running)


@pytest.fixture(scope="session")
def opened(
    request: pytest.FixtureRequest,
    contract_server: InngestServer,
    contract_functions: Functions,
) -> Iterator[Door]:
    """One front door after the other."""
    front = FRONT_DOORS[request.param]
    if front.platform == "azure":
        _require_azure()
    with ExitStack() as running:
        yield Door(front, contract_server, contract_functions, running)


@pytest.fixture
def door(opened: Door) -> Door:
    """A front door with a server that has been asked nothing yet."""
    opened.server.forget()
    return opened


def _require_azure() -> None:
    missing = missing_runtime()
    if missing is not None and os.environ.get("CI") == "true":
        pytest.fail(f"{missing}; CI has to have it")
    if missing is not None:
        pytest.skip(missing)
