"""The group of commands. It knows their names and one line about each, not their modules' needs."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import click

COMMANDS = {
    "dev": "dev",
    "send": "send",
    "runs": "runs",
    "run": "runs",
    "sync": "sync",
    "check-replay": "check_replay",
}
"""Command name -> the module beside this one that defines it."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"inngest_serverless.cli.{COMMANDS[cmd_name]}")
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("inngest-serverless"), message="%(prog)s %(version)s")
def cli() -> None:
    """Durable step functions on AWS Lambda, and an engine to run them on this machine.

    \b
    Start here:   inngest-serverless dev --app MODULE:CLIENT
    Then:         inngest-serverless send shop/order.placed --data '{"order_id": "1"}'
    And look:     inngest-serverless runs
    """
