"""What Azure says of itself, and what follows for how long a call may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from inngest_serverless import Inngest
from inngest_serverless.azure.entrypoint import Door
from inngest_serverless.azure.environment import Environment

SETTING = "AzureFunctionsJobHost__functionTimeout"


@pytest.mark.parametrize(
    ("environ", "host_json", "seconds"),
    [
        ({}, None, 1800),
        ({"WEBSITE_SKU": "Dynamic"}, None, 300),
        ({"WEBSITE_SKU": "FlexConsumption"}, "{}", 1800),
        ({}, '{"functionTimeout": "00:10:00"}', 600),
        ({}, '\ufeff{"functionTimeout": "00:10:00"}', 600),
        ({}, '{"functionTimeout": "1.01:00:01"}', 90_001),
        ({}, '{"functionTimeout": "00:00:02.5"}', 2.5),
        ({}, '{"functionTimeout": "-1"}', None),
        ({SETTING: "00:01:00"}, '{"functionTimeout": "00:10:00"}', 60),
        ({SETTING: "soon", "WEBSITE_SKU": "Dynamic"}, "{}", 300),
        ({}, '{"functionTimeout": 7}', 1800),
        ({}, "[]", 1800),
        ({}, "{", 1800),
    ],
)
def test_the_function_timeout_is_found(
    environ: dict[str, str], host_json: str | None, seconds: float | None, tmp_path: Path
) -> None:
    if host_json is not None:
        (tmp_path / "host.json").write_text(host_json, "utf-8")
    assert Environment.from_env(environ, tmp_path).function_timeout == seconds


def test_the_folder_that_azure_names_holds_host_json(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"functionTimeout": "00:10:00"}')
    environ = {"AzureWebJobsScriptRoot": str(tmp_path)}
    assert Environment.from_env(environ, tmp_path / "elsewhere").function_timeout == 600


@pytest.mark.parametrize(
    ("region", "read"),
    [("West Europe", "west-europe"), ("westeurope", "westeurope"), (" ", "unknown")],
)
def test_the_region_is_a_word(region: str, read: str, tmp_path: Path) -> None:
    assert Environment.from_env({"REGION_NAME": region}, tmp_path).region == read


@pytest.mark.parametrize(
    ("timeout", "can_stream", "seconds"),
    [
        ("00:30:00", False, 220),  # the load balancer's 230
        ("-1", False, 220),
        ("00:01:00", False, 59),
        ("00:30:00", True, 1799),  # a stream has begun in time
        ("-1", True, None),
    ],
)
def test_the_time_for_an_answer_is_the_shorter_limit(
    timeout: str, can_stream: bool, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, timeout)
    door = Door(lambda: Inngest(app_id="shop"), can_stream=can_stream)
    assert door.deadline(1000) == (None if seconds is None else 1000 + seconds)
