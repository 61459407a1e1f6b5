"""`inngest-serverless dev --platform gcp`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from inngest_serverless.cli.commands import cli

from ..dev_process import Dev
from .running import APPS

WORDS = ("--app", "shop:client", "--platform", "gcp", "--port", "0", "--no-discovery")


def test_an_app_runs_in_functions_framework_until_ctrl_c(tmp_path: Path) -> None:
    with Dev(*WORDS, "--db", str(tmp_path / "dev.db"), cwd=APPS) as dev:
        data = ("-d", '{"id": 7, "total": 9}')
        sent = CliRunner().invoke(cli, ["send", "shop/order.placed", *data, "--url", dev.url])
        assert sent.exit_code == 0, sent.output
        dev.wait_for("│ order 7")  # what the function prints
        dev.wait_for('"paid": 9')
        url, app_url = dev.url, dev.app_url
        assert dev.interrupt() == 0
    assert "✓ shop-order" in dev.output
    assert "Traceback" not in dev.output
    for each in (url, app_url):
        with pytest.raises(httpx.ConnectError):
            httpx.get(each, trust_env=False)
