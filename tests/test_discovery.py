"""Which client an entrypoint serves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inngest_sdk.client import Inngest
from inngest_sdk.errors import ConfigError
from inngest_serverless.discovery import CANDIDATES, LazyClient, explain, find_client

Write = Callable[..., None]

CLIENT = "from inngest_sdk.client import Inngest\nclient = Inngest(app_id='shop')\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules into a directory that is on the import path for one test."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write_module(name: str, source: str = CLIENT) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    yield write_module
    for name in set(sys.modules) - before:
        spec = sys.modules[name].__spec__
        # A directory without an __init__.py is a package of no file.
        if spec is None or spec.origin is None or spec.origin.startswith(str(tmp_path)):
            del sys.modules[name]


def client_of(module: str, attribute: str = "client") -> Any:
    return getattr(sys.modules[module], attribute)


def complaint(app: str | None) -> str:
    with pytest.raises(ConfigError) as raised:
        find_client(app)
    return str(raised.value)


@pytest.mark.parametrize(
    "app", ["shop_orders.functions:client", " shop_orders.functions : client "]
)
def test_a_module_and_attribute_name_a_client(app: str, write: Write) -> None:
    write("shop_orders.functions")
    assert find_client(app) is client_of("shop_orders.functions")


def test_the_attribute_may_be_dotted(write: Write) -> None:
    write("shop_orders.functions", f"{CLIENT}class Apps:\n    shop = client\n")
    assert find_client("shop_orders.functions:Apps.shop") is client_of("shop_orders.functions")


@pytest.mark.parametrize(
    "app",
    [
        "shop_orders.functions",
        ":client",
        "shop_orders:",
        "shop_orders/functions.py:client",
        "a:b:c",
        "a..b:c",
    ],
)
def test_a_name_of_another_form_is_refused_with_an_example(app: str) -> None:
    assert complaint(app) == (
        f"INNGEST_APP={app!r} is not of the form module:attribute, "
        "for example orders.functions:client"
    )


def test_a_missing_module_is_named(write: Write) -> None:
    write("shop_orders.functions")
    for module in ("no_such_orders.functions", "shop_orders.no_such"):
        assert f"there is no module {module!r} on the import path" in complaint(f"{module}:client")


def test_a_module_that_fails_to_import_says_so_itself(write: Write) -> None:
    write("broken_app", "import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        find_client("broken_app:client")


def test_a_module_that_is_a_script_is_told_how_to_be_one(write: Write) -> None:
    write("script_app", "import sys\nsys.exit(2)\n")
    assert "ended the process while it was imported (exit code 2)" in complaint("script_app:client")


def test_a_missing_attribute_brings_up_the_modules_clients(write: Write) -> None:
    write("orders_app", f"{CLIENT}other = Inngest(app_id='mail')\n")
    assert complaint("orders_app:clint") == (
        "INNGEST_APP='orders_app:clint': 'orders_app' has no attribute 'clint'; "
        "its Inngest clients are: client, other"
    )


def test_a_missing_attribute_brings_up_near_names(write: Write) -> None:
    write("orders_app", "def make_client(): ...\nclass Apps: shop = 1\n")
    assert "did you mean 'make_client'?" in complaint("orders_app:makeclient")
    assert "'orders_app.Apps' has no attribute 'shopp'; did you mean 'shop'?" in complaint(
        "orders_app:Apps.shopp"
    )
    assert complaint("orders_app:zzz").endswith("has no attribute 'zzz'")


def test_a_circular_import_is_recognised(write: Write) -> None:
    write(
        "circular_app",
        "from inngest_serverless.discovery import find_client\n"
        "client = find_client('circular_app:client')\n",
    )
    assert "still being imported (a circular import)" in complaint("circular_app:client")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def client(): ...", "is a function, not an inngest_serverless.Inngest client"),
        ("client = None", "is a NoneType, not an inngest_serverless.Inngest client"),
        ("import json as client", "is the module 'json', not an inngest_serverless.Inngest client"),
        ("class client: ...", "is a type 'client', not an inngest_serverless.Inngest client"),
        (
            "class Inngest: __module__ = 'inngest._internal.client_lib'\nclient = Inngest()",
            "is a client of the official SDK; import Inngest from inngest_serverless instead: "
            "it takes the same arguments",
        ),
    ],
)
def test_something_else_than_a_client_is_named(source: str, message: str, write: Write) -> None:
    write("orders_app", source)
    assert complaint("orders_app:client") == f"INNGEST_APP='orders_app:client' {message}"


@pytest.mark.parametrize("module", CANDIDATES)
@pytest.mark.parametrize("app", [None, "", "  "])
def test_without_a_name_the_single_client_is_found(
    module: str, app: str | None, write: Write
) -> None:
    write(module)
    assert find_client(app) is client_of(module)


def test_a_client_that_one_module_takes_from_another_is_one(write: Write) -> None:
    write("inngest_app")
    write("main", "from inngest_app import client as again\n")
    assert find_client(None) is client_of("inngest_app")


def test_no_client_anywhere_says_what_was_looked_for(write: Write) -> None:
    assert complaint(None) == (
        "no Inngest client was found: INNGEST_APP is not set, and of the modules inngest_app, "
        "app, main, function_app none exists; set INNGEST_APP to module:attribute, for example "
        "INNGEST_APP=orders.functions:client"
    )
    write("app", "x = 1\n")
    write("main", "x = 1\n")
    assert "only app, main could be imported, without a client at the top level" in complaint(None)


def test_of_several_clients_none_is_chosen(write: Write) -> None:
    write("app", f"{CLIENT}second = Inngest(app_id='mail')\n")
    write("main")
    assert complaint(None) == (
        "several Inngest clients were found: app:client, app:second, main:client; "
        "set INNGEST_APP to one"
    )


def test_a_candidate_that_fails_to_import_says_so_itself(write: Write) -> None:
    write("app")
    write("main", "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        find_client(None)


def test_a_lazy_client_is_looked_for_once(write: Write) -> None:
    environ = {"INNGEST_APP": "orders_app:client"}
    lazy = LazyClient(environ)
    write("orders_app")
    first = lazy.get()
    environ["INNGEST_APP"] = "no_such:client"
    assert lazy.get() is first
    assert isinstance(first, Inngest)


FAILS_TWICE = """
import sys
sys.tries = getattr(sys, "tries", 0) + 1
if sys.tries == 1:
    raise KeyError("DATABASE_URL")
if sys.tries == 2:
    raise ValueError("the function id is taken")
"""


def test_a_lazy_client_tries_again_and_keeps_the_first_error(write: Write) -> None:
    write("flaky_app", FAILS_TWICE + CLIENT)
    lazy = LazyClient({"INNGEST_APP": "flaky_app:client"})
    tracebacks = []
    for _ in range(2):
        with pytest.raises(KeyError, match="DATABASE_URL") as raised:
            lazy.get()
        tracebacks.append(len(raised.traceback))
    assert isinstance(lazy.get(), Inngest)
    del sys.tries  # type: ignore[attr-defined]  # set by the module above
    assert tracebacks[1] <= tracebacks[0] + 1


def test_another_setting_brings_another_error() -> None:
    environ = {"INNGEST_APP": "no_such_1:client"}
    lazy = LazyClient(environ)
    with pytest.raises(ConfigError, match="no_such_1"):
        lazy.get()
    environ["INNGEST_APP"] = "no_such_2:client"
    with pytest.raises(ConfigError, match="no_such_2"):
        lazy.get()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("set X"), "set X"),
        (
            ModuleNotFoundError("No module named 'x'"),
            "the app could not be imported: ModuleNotFoundError: No module named 'x'",
        ),
        (
            OSError("postgres://user:password@db"),
            "the app could not be imported: it raised OSError; the log has the traceback",
        ),
    ],
)
def test_a_public_explanation_tells_no_secret(error: Exception, said: str) -> None:
    assert explain(error) == said
