"""What users import is typed to the last attribute, so that all type checkers see the same.

The other files of this folder are what `make check` holds to the exact types.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Missing

ROOT = Path(__file__).parents[2]


def pyright(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pyright outside of the checkout, whose settings are for checking and not for this."""
    found = os.pathsep.join((str(ROOT), str(ROOT / "sdk")))
    return subprocess.run(
        [sys.executable, "-m", "pyright", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
    )


def complaints(report: dict[str, Any]) -> list[str]:
    return [
        f"{symbol['name']}: {each['message']}"
        for symbol in report["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
        for each in symbol["diagnostics"]
    ]


@pytest.mark.parametrize("package", ["inngest_serverless", "inngest_sdk"])
def test_every_public_name_has_a_type_that_is_written_down(
    package: str, tmp_path: Path, missing: Missing
) -> None:
    version = pyright(tmp_path, "--version")
    if version.returncode:
        missing(f"pyright does not run here ({version.stderr.strip()[-200:]})")

    run = pyright(tmp_path, "--verifytypes", package, "--ignoreexternal", "--outputjson")
    report = json.loads(run.stdout)["typeCompleteness"]

    assert report["exportedSymbolCounts"]["withKnownType"] > 100
    assert complaints(report) == []
    assert report["completenessScore"] == 1
