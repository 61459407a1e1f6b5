"""`inngest-serverless runs`, `runs export` and `run`: what the engine did."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from click.core import ParameterSource

from inngest_serverless.cli.api import EngineApi, engine_url
from inngest_serverless.cli.problems import Problem
from inngest_serverless.cli.seconds import seconds
from inngest_serverless.cli.show import console, print_json, print_run, runs_table

STATUSES = ("Scheduled", "Running", "Completed", "Failed", "Cancelled")
PAGE = 1000
"""Runs that the engine lists at once."""


@click.group("runs", invoke_without_command=True)
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only these.")
@click.option("--function", metavar="SLUG", help="Only runs of this function, as in shop-fulfil.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most.")
@click.option("--url", metavar="URL", help="The engine.  [default: INNGEST_DEV, or port 8288 here]")
@click.option("--json", "as_json", is_flag=True, help="Print the runs as JSON.")
@click.pass_context
def runs_command(
    ctx: click.Context,
    status: str | None,
    function: str | None,
    limit: int,
    url: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first; or export them."""
    if ctx.invoked_subcommand is not None:
        return _refuse_options(ctx)
    rows = asyncio.run(_runs(engine_url(url), status, function, limit))
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no runs")
    else:
        console().print(runs_table(rows))
    return None


def _refuse_options(ctx: click.Context) -> None:
    """Options of the list, given before a subcommand, would do nothing."""
    given = (
        each for each in ctx.params if ctx.get_parameter_source(each) is ParameterSource.COMMANDLINE
    )
    for name in given:
        option = "--json" if name == "as_json" else f"--{name}"
        raise click.UsageError(f"{option} is for listing runs; put options after the subcommand")


@runs_command.command("export")
@click.argument("run_ids", metavar="ID...", nargs=-1)
@click.option("--function", metavar="SLUG", help="All runs of this function, oldest first.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write there instead of to standard output.",
)
@click.option("--url", metavar="URL", help="The engine.  [default: INNGEST_DEV, or port 8288 here]")
def export_command(
    run_ids: tuple[str, ...], function: str | None, output: Path | None, url: str | None
) -> None:
    """Write runs as traces, one JSON document a line: these, a function's, or all.

    A trace holds the events, the steps with what they came to, and the output: enough to run the
    function again and see whether changed code still does the same.
    """
    traces = asyncio.run(_traces(engine_url(url), run_ids, function))
    # Escaped, so that any terminal can show a line and no character in it looks like its end.
    text = "".join(f"{json.dumps(trace, separators=(',', ':'))}\n" for trace in traces)
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text)
        click.echo(f"wrote {len(traces)} to {output}", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise Problem(f"cannot write {path}: {error.strerror}") from None


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


async def _traces(url: str, run_ids: Sequence[str], function: str | None) -> list[dict[str, Any]]:
    api = TraceApi(url)
    async with api:
        listed = await api.ids_of(function) if function is not None or not run_ids else ()
        ids = [*run_ids, *listed]
        return [await api.trace(run_id) for run_id in dict.fromkeys(ids)]


class TraceApi(EngineApi):
    """The engine's API, and what only an export asks of it."""

    async def ids_of(self, function: str | None, *, page: int = PAGE) -> list[str]:
        """The ids of all runs, of a function if one is named, oldest first; so many are asked for
        at a time."""
        found = ids = [run["run_id"] for run in await self.runs(function=function, limit=page)]
        while len(found) == page:
            query = {"limit": str(page), "cursor": ids[-1]}
            if function is not None:
                query["function"] = function
            answer = await self._ask("GET", "/api/runs", "runs", params=query)
            found = [run["run_id"] for run in answer["runs"]]
            ids = ids + found
        return ids[::-1]

    async def trace(self, run_id: str) -> dict[str, Any]:
        """One run, as it can be run again."""
        return await self._ask("GET", f"/v1/runs/{_quoted(run_id)}/trace", "steps")


def _quoted(word: str) -> str:
    return quote(word.encode(errors="replace"), safe="")
