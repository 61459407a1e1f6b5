"""The `inngest-serverless` command. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

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
    cli(prog_name="inngest-serverless")
