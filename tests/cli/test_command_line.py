"""The command line as a whole: help, version, what it loads."""

from __future__ import annotations

import subprocess
import sys

from inngest_serverless.cli.commands import COMMANDS

from .conftest import Invoke


def test_help_names_every_command(invoke: Invoke) -> None:
    output = invoke("--help").output
    assert [name for name in COMMANDS if f"  {name} " not in output] == []


def test_a_command_that_does_not_exist(invoke: Invoke) -> None:
    done = invoke("fly")
    assert done.exit_code == 2
    assert "No such command 'fly'" in done.output


def test_the_version_is_that_of_the_package(invoke: Invoke) -> None:
    assert invoke("--version").output.startswith("inngest-serverless 0.")


def test_asking_for_the_version_loads_no_engine() -> None:
    code = (
        "import sys; from inngest_serverless.cli import main\n"
        "sys.argv[1:] = ['--version']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'httpx', 'uvicorn', 'sqlite3', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
