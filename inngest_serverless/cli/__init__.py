"""The `inngest-serverless` command. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import io
import sys

__all__ = ["main"]

NOT_INSTALLED = """\
The command line needs packages that a deployed function does not: {name} is not installed.
Install them with: pip install 'inngest-serverless[dev]'"""


def main() -> None:
    """Run the command line with the arguments of this process."""
    try:
        from inngest_serverless.cli.commands import cli
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(NOT_INSTALLED.format(name=error.name))
    _write_whatever_comes()
    cli(prog_name="inngest-serverless")


def _write_whatever_comes() -> None:
    """Escape what the terminal's encoding lacks, such as the marks of the log, in the output."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
