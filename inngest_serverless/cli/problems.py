"""What a command says when it cannot do what was asked, and the exit codes. Never a traceback.

0  done
1  the answer is no: refused, not found, or (`run --wait`) the run did not end Completed
2  the command line is wrong: unknown option, bad JSON, unknown app
3  nobody answers at the URL
"""

from __future__ import annotations

from typing import IO, Any

import click


class Problem(click.ClickException):
    """The answer is no. `hint` says what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        click.secho(f"Error: {self.message}", fg="red", err=True, file=file)
        if self.hint:
            click.echo(self.hint, err=True, file=file)


class WrongUse(Problem):
    """The command line is wrong."""

    exit_code = 2


class Unreachable(Problem):
    """Nobody answers at the URL."""

    exit_code = 3
