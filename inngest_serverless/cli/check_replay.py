"""`inngest-serverless check-replay`: do recorded runs find their way through today's code?"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from inngest_sdk.client import Inngest
from inngest_sdk.errors import ConfigError
from inngest_serverless.cli.problems import WrongUse
from inngest_serverless.cli.replaying import Compared, Verdict, compare
from inngest_serverless.cli.show import console, print_json
from inngest_serverless.cli.traces import Trace, read_traces
from inngest_serverless.discovery import find_client

SHOWN = 5  # names on a line of the table
STYLES = {Verdict.SAFE: "green", Verdict.NEW: "yellow"}


@click.command("check-replay")
@click.argument(
    "traces",
    nargs=-1,
    required=True,
    metavar="TRACES...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--app",
    metavar="MODULE:ATTR",
    envvar="INNGEST_APP",
    show_envvar=True,
    help="The app to check, loaded from the current directory.",
)
@click.option("--strict", is_flag=True, help="Exit 1 for new steps as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def check_replay_command(
    traces: tuple[Path, ...], app: str | None, strict: bool, as_json: bool
) -> None:
    """Replay recorded runs with today's code, and tell which of them it would break.

    TRACES are files of `runs export`, or of recorded calls, or folders of them. No step runs, and
    no event is sent; the code between steps does run. Exit 1 unless all runs are safe.
    """
    if not os.environ.get("INNGEST_SIGNING_KEY"):
        os.environ.setdefault("INNGEST_DEV", "1")  # nothing leaves the process, so no key is needed
    with _as_entrypoint():
        client = _load(app)
        results = _results(client, read_traces(traces))
    if not results:
        raise WrongUse(f"no runs in {', '.join(map(str, traces))}")
    if as_json:
        print_json({"functions": [_json(each) for each in results]})
    else:
        console().print(_table(results))
        _print_notes(results)
    if _is_refused(results, strict=strict):
        raise SystemExit(1)


@dataclass
class Result:
    """What became of the runs of a function. `worst` are the ids of those with its verdict."""

    function_id: str
    compared: Compared = field(default_factory=Compared)
    runs: int = 0
    worst: list[str] = field(default_factory=list)

    def add(self, trace: Trace, compared: Compared) -> None:
        """Another run was replayed."""
        before = self.compared.verdict
        self.compared |= compared
        self.runs += 1
        if self.compared.verdict is not before:
            self.worst = []
        if compared.verdict is self.compared.verdict:
            self.worst.append(trace.run_id)


def _results(client: Inngest, traces: Iterable[Trace]) -> list[Result]:
    results: dict[str, Result] = {}
    for trace in traces:
        result = results.setdefault(trace.function_id, Result(trace.function_id))
        result.add(trace, compare(client, trace))
    return [results[function_id] for function_id in sorted(results)]


def _is_refused(results: Iterable[Result], *, strict: bool) -> bool:
    good = (Verdict.SAFE,) if strict else (Verdict.SAFE, Verdict.NEW)
    return any(each.compared.verdict not in good for each in results)


@contextmanager
def _as_entrypoint() -> Iterator[None]:
    """The app imports from the current directory. What it prints goes to standard error, as
    standard output is for the verdicts."""
    directory = os.getcwd()
    sys.path.insert(0, directory)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path.remove(directory)


def _load(app: str | None) -> Inngest:
    try:
        return find_client(app)
    except ConfigError as error:
        raise WrongUse(str(error)) from None
    except Exception:
        # The user's own module raised it: its traceback says where.
        raise WrongUse(f"the app cannot be loaded\n{traceback.format_exc()}") from None


# ── what is shown ────────────────────────────────────────────────────────────────────────────────


def _json(result: Result) -> Mapping[str, Any]:
    compared = result.compared
    return {
        "function_id": result.function_id,
        "verdict": compared.verdict.value,
        "runs": result.runs,
        "worst_runs": result.worst,
        "fails": list(compared.fails),
        "would_rerun": list(compared.reruns),
        "orphans": list(compared.orphans),
        "new": list(compared.new),
        "unproven": list(compared.hidden),
    }


def _table(results: Iterable[Result]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("function")
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what", overflow="fold")
    for each in results:
        verdict = each.compared.verdict
        style = STYLES.get(verdict, "red")
        what = Text(_what(each.compared))
        table.add_row(Text(each.function_id), str(each.runs), Text(verdict.value, style), what)
    return table


def _what(compared: Compared) -> str:
    if compared.gone:
        return "the app has no function with this id"
    said = {
        "": compared.fails,
        "would re-run ": _quoted(compared.reruns),
        "orphans ": _quoted(compared.orphans),
        "new ": _quoted(compared.new),
        "unproven ": _quoted(compared.hidden),
    }
    return "; ".join(f"{head}{_few(items)}" for head, items in said.items() if items)


def _quoted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(repr, names))


def _few(items: tuple[str, ...]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _print_notes(results: Iterable[Result]) -> None:
    results = list(results)
    found = {each.compared.verdict for each in results}
    if Verdict.NEW in found:
        click.echo("New steps run in open runs too, where these come to them.")
    if any(each.compared.hidden for each in results):
        click.echo(
            "Unproven: behind new steps, and not reached while these came to null; their ids are "
            "still in the code."
        )
    for each in results:
        if each.compared.verdict not in (Verdict.SAFE, Verdict.NEW) and not each.compared.gone:
            click.echo(f"See run {each.worst[0]} of {each.function_id}.")
