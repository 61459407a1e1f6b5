"""`inngest-serverless runs` and `inngest-serverless run`: what the engine did."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from inngest_serverless.cli.api import EngineApi, engine_url
from inngest_serverless.cli.seconds import seconds
from inngest_serverless.cli.show import console, print_json, print_run, runs_table

STATUSES = ("Scheduled", "Running", "Completed", "Failed", "Cancelled")


@click.command("runs")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only these.")
@click.option("--function", metavar="SLUG", help="Only runs of this function, as in shop-fulfil.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most.")
@click.option("--url", metavar="URL", help="The engine.  [default: INNGEST_DEV, or port 8288 here]")
@click.option("--json", "as_json", is_flag=True, help="Print the runs as JSON.")
def runs_command(
    status: str | None, function: str | None, limit: int, url: str | None, as_json: bool
) -> None:
    """List runs, newest first."""
    rows = asyncio.run(_runs(engine_url(url), status, function, limit))
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no runs")
    else:
        console().print(runs_table(rows))


@click.command("run")
@click.argument("run_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until it has ended; exit 1 unless Completed.")
@click.option(
    "--timeout",
    type=float,
    callback=seconds,
    metavar="SECONDS",
    help="With --wait: give up after this.",
)
@click.option("--url", metavar="URL", help="The engine.  [default: INNGEST_DEV, or port 8288 here]")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON.")
def run_command(
    run_id: str, wait: bool, timeout: float | None, url: str | None, as_json: bool
) -> None:
    """Show a run: its steps, their attempts, times and results."""
    detail = asyncio.run(_run(engine_url(url), run_id, wait, timeout))
    if as_json:
        print_json(detail)
    else:
        print_run(console(), detail)
    if wait and detail["run"]["status"] != "Completed":
        raise SystemExit(1)


async def _runs(
    url: str, status: str | None, function: str | None, limit: int
) -> list[dict[str, Any]]:
    async with EngineApi(url) as api:
        return await api.runs(status=status, function=function, limit=limit)


async def _run(url: str, run_id: str, wait: bool, timeout: float | None) -> dict[str, Any]:
    async with EngineApi(url) as api:
        return await api.ended(run_id, timeout=timeout) if wait else await api.run(run_id)
