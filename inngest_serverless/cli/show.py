"""How runs look in a terminal: tables, short lines, colours. Knows nothing of HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {
    "Completed": "green",
    "Failed": "red",
    "Retrying": "yellow",
    "Running": "cyan",
    "Waiting": "cyan",
    "Scheduled": "dim",
    "TimedOut": "yellow",
    "Cancelled": "magenta",
}
MARKS = {"Completed": "✓", "Failed": "✗", "Cancelled": "■", "Running": "▶", "Scheduled": "○"}
KINDS = {
    "StepRun": "step",
    "Sleep": "sleep",
    "WaitForEvent": "wait",
    "WaitForSignal": "wait",
    "Gateway": "fetch",
    "AIGateway": "model",
    "InvokeFunction": "invoke",
    "Function": "function",
}


def print_json(value: Any) -> None:
    """Print `value` as JSON, plain, for programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


def console(*, quiet: bool = False) -> Console:
    """Return a console as wide as the terminal, and wide enough for tables where there is none."""
    made = Console(highlight=False, quiet=quiet)
    return made if made.is_terminal else Console(highlight=False, quiet=quiet, width=120)


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return runs as a table, one a line."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("run", "function", "status", "queued", "took"):
        table.add_column(column, no_wrap=True, justify="right" if column == "took" else "left")
    for run in runs:
        table.add_row(
            run["run_id"],
            Text(run["slug"]),
            status_text(run["status"]),
            clock(run["queued_ms"]),
            took(run["queued_ms"], run["ended_ms"]),
        )
    return table


def print_run(console: Console, detail: Mapping[str, Any]) -> None:
    """Print one run: what it is, each piece of work that it did, and how it ended."""
    run = detail["run"]
    spent = took(run["queued_ms"], run["ended_ms"])
    head = Text.assemble((run["slug"], "bold"), "  ", (run["run_id"], "dim"), "  ")
    console.print(head + status_text(run["status"]) + Text(f" in {spent}" if spent else ""))
    for event in detail["events"]:
        print_line(console, Text(f"  {event['name']}  {one_line(event['data'])}", "dim"))
    console.print(timeline_table(detail["timeline"], since_ms=run["queued_ms"]))
    if run["ended_ms"]:
        print_line(console, Text(f"  → {outcome(run)}", STYLES.get(run["status"], "")))


def print_line(console: Console, text: Text) -> None:
    """Print on one line, cut off where the terminal ends."""
    console.print(text, no_wrap=True, overflow="ellipsis", crop=True)


def timeline_table(timeline: Sequence[Mapping[str, Any]], *, since_ms: int) -> Table:
    """Return a run's timeline: one line per attempt of a step, and per wait."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), expand=True)
    table.add_column("  step", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("try", justify="right")
    table.add_column("status", no_wrap=True)
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True, overflow="ellipsis", ratio=1)
    for line in timeline:
        table.add_row(
            Text(f"  {line['name']}"),
            KINDS.get(line["kind"], line["kind"]),
            str(line["attempt"] + 1),
            status_text(line["status"]),
            took(since_ms, line["started_ms"]),
            took(line["started_ms"], line["ended_ms"]),
            Text(_result(line), style="red" if line["error"] else ""),
        )
    return table


def outcome(run: Mapping[str, Any]) -> str:
    """Return what a run came to, on one line: its output, or its error."""
    output = run["output"]
    error = None if run["status"] == "Completed" else _error_in(output)
    return (
        one_line(output) if error is None else f"{error.get('name', 'Error')}: {error['message']}"
    )


def _error_in(output: Any) -> Mapping[str, Any] | None:
    """The error that a run failed with: the app's as it is, the engine's own under `error`."""
    if not isinstance(output, dict):
        return None
    return output if "message" in output else _error_in(output.get("error"))


def status_text(status: str) -> Text:
    """Return a status in its colour."""
    return Text(status, style=STYLES.get(status, ""))


def clock(at_ms: int | None) -> str:
    """Return the local time of day, to the millisecond."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000).strftime("%H:%M:%S.%f")[:-3]


def took(start_ms: int | None, end_ms: int | None) -> str:
    """Return the time between two instants in the unit that fits; nothing if one is missing."""
    if start_ms is None or end_ms is None:
        return ""
    spent = max(0, end_ms - start_ms)
    if spent < 1000:
        return f"{spent} ms"
    return f"{spent / 1000:.1f} s" if spent < 120_000 else f"{spent / 60_000:.1f} min"


def one_line(value: Any) -> str:
    """Return `value` as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def _result(line: Mapping[str, Any]) -> str:
    if line["error"]:
        return f"{line['error'].get('name', 'Error')}: {line['error'].get('message', '')}"
    return "" if line["output"] is None else one_line(line["output"])
