"""What a cold start on Lambda loads: what is written here, and nothing heavy by accident.

Each module costs a cold start about a millisecond without bytecode. Before adding to ALLOWED, see
whether the new module can be imported inside the function that needs it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

# Names from the standard library. A package stands for its submodules, and a name for its helper
# in C (`json` for `_json`).
ALLOWED = {
    *(
        "future",
        "json",
        "logging",
        "dataclasses",
        "datetime",
        "typing",
        "urllib.parse",
        "hashlib",
        "hmac",
    ),
    # What json and logging stand on.
    *("re", "enum", "functools", "collections", "operator", "itertools", "keyword", "reprlib"),
    *(
        "copyreg",
        "types",
        "contextlib",
        "string",
        "textwrap",
        "threading",
        "traceback",
        "linecache",
    ),
    *("tokenize", "token", "warnings", "weakref", "weakrefset", "atexit", "time", "math"),
    # What dataclasses stands on.
    *("inspect", "ast", "dis", "opcode", "copy", "importlib"),
    # What urllib.parse, hashlib, and in some versions re and traceback stand on.
    *("urllib", "ipaddress", "blake2", "locale", "colorize"),
    # The core's own: the step that is running, and the seed of event ids.
    *("contextvars", "base64", "binascii", "struct"),
}
OURS = (
    *("inngest_sdk", "inngest_serverless.aws", "inngest_serverless.discovery"),
    "inngest_serverless.secrets",
)

HEAVY = {
    *("asyncio", "concurrent", "email", "http", "multiprocessing", "socket", "sqlite3", "ssl"),
    *("subprocess", "urllib.request", "uuid", "boto3", "botocore", "click", "httpx", "pydantic"),
    *("rich", "starlette", "uvicorn", "inngest_serverless.cli", "inngest_serverless.engine"),
}

APP = """
from inngest_serverless import Inngest, TriggerEvent, aws
client = Inngest(app_id="shop", is_production=False)
@client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
def order(ctx):
    return ctx.step.run("pay", lambda: {"paid": True})
handler = aws.serve(client)
"""
A_CALL = """
import json
answer = handler({
    "version": "2.0",
    "rawPath": "/api/inngest",
    "rawQueryString": "fnId=shop-order&stepId=step",
    "headers": {},
    "requestContext": {"domainName": "shop.example", "http": {"method": "POST"}},
    "body": json.dumps({
        "event": {"name": "shop/order.placed", "data": {}},
        "ctx": {"run_id": "01J", "attempt": 0, "stack": {"stack": [], "current": 0}},
    }),
}, None)
assert answer["statusCode"] in (200, 206), answer
"""


def loaded_by(code: str) -> set[str]:
    """The modules that this code loads in a fresh Python, beyond what Python loads anyway."""
    return _modules(code) - _modules("")


def _modules(code: str) -> set[str]:
    code = f"{code}\nimport sys; print('modules:', *sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.rpartition("modules:")[2].split())


def is_of(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def intruders(modules: set[str]) -> set[str]:
    """Those of the modules that neither the list nor a name on it accounts for."""
    packages = {f"{name.rpartition('.')[0]}" for name in OURS}
    return {
        module
        for module in modules
        if not is_of(module, OURS) and module not in packages
        if not is_of(_public(module), ALLOWED)
    }


def _public(module: str) -> str:
    # sre_* became re.* in 3.11; __future__ is a name like any other.
    plain = module.strip("_").replace("sre_", "re.").replace("opcode_metadata", "opcode")
    return "re" if plain == "sre" else plain


@pytest.fixture(scope="module", name="at_import")
def at_import_fixture() -> set[str]:
    return loaded_by("import inngest_serverless.aws")


def test_a_cold_start_loads_only_what_is_allowed(at_import: set[str]) -> None:
    assert sorted(intruders(at_import)) == []


def test_a_cold_start_loads_nothing_heavy(at_import: set[str]) -> None:
    assert sorted(module for module in at_import if is_of(module, HEAVY)) == []


def test_an_app_of_sync_functions_is_called_without_anything_heavy() -> None:
    modules = loaded_by(APP + A_CALL)
    assert sorted(module for module in modules if is_of(module, HEAVY)) == []


@pytest.mark.parametrize("name", ["decimal", "uuid", "inngest_serverless.asgi", "httpx"])
def test_an_intruder_would_be_named(name: str, at_import: set[str]) -> None:
    assert intruders(at_import | {name}) == intruders(at_import) | {name}
