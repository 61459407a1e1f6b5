"""Options that are a number of seconds: `type=float, callback=seconds`."""

from __future__ import annotations

import click

YEAR = 31_536_000


def seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Take seconds from 0 to a year; `nan` and `inf` are none."""
    if value is None or 0 <= value <= YEAR:
        return value
    raise click.BadParameter(f"{value:g} is out of range: give 0 to {YEAR} seconds")


def some_seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Take seconds above 0, up to a year."""
    if value == 0:
        raise click.BadParameter("0 is no time at all: give more than 0 seconds")
    return seconds(ctx, param, value)
