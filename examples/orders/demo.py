"""Run the shop on this machine, from the first event to the last run, and check everything.

    python examples/orders/demo.py          live, with a timeline of each run
    python examples/orders/demo.py --json   one JSON document at the end, for CI

It starts the engine and the local Lambda, registers the app by its URL, sends events.json, waits
for every run, compares what came out with what should, and stops what it started. The exit code
is 0 only if everything ended as it should.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.live import Live
from rich.table import Table

from inngest_serverless.cli.api import ENDED, EngineApi
from inngest_serverless.cli.local_app import Wanted, engine_and_app
from inngest_serverless.cli.show import console, outcome, print_json, print_run, status_text
from inngest_serverless.engine.server import DevOptions

HERE = Path(__file__).parent
DEADLINE = 90.0
Run: TypeAlias = dict[str, Any]
Show: TypeAlias = Callable[[list[Run]], None]

# (function, what it is about) -> (how its run ends, what it returns or the error's message)
EXPECTED: dict[tuple[str, str], tuple[str, Any]] = {
    ("shop-fulfil-order", "order-1"): (
        "Completed",
        {"order_id": "order-1", "paid": 7500, "parcel": "PARCEL-42"},
    ),
    ("shop-fulfil-order", "order-2"): ("Failed", "sold out: tea"),
    ("shop-fulfil-order-failure", "order-2"): (
        "Completed",
        {"order_id": "order-2", "refunded": 2100, "reason": "sold out: tea"},
    ),
    ("shop-fulfil-order", "order-3"): ("Failed", "the card has expired"),
    ("shop-fulfil-order-failure", "order-3"): (
        "Completed",
        {"order_id": "order-3", "refunded": 0, "reason": "the card has expired"},
    ),
    ("shop-reserve-stock", "order-1"): ("Completed", {"order_id": "order-1", "reserved": 5}),
    ("shop-reserve-stock", "order-2"): ("Completed", {"order_id": "order-2", "reserved": 3}),
    ("shop-reserve-stock", "order-3"): ("Completed", {"order_id": "order-3", "reserved": 1}),
    ("shop-daily-report", "2026-11-21"): (
        "Completed",
        {"day": "2026-11-21", "orders": 12, "revenue": 87_600},
    ),
}
# Everything that happens to the outside world, each exactly once, whatever was retried.
EXPECTED_EFFECTS = sorted(
    [
        "charge order-1",
        "charge order-2",
        "mail order-1",
        "mail order-2",
        "mail order-3",
        "mail report-2026-11-21",
        "refund order-2",
        "release order-2",
        "release order-3",
        "reserve order-1 cup",
        "reserve order-1 teapot",
        "reserve order-2 tea",
        "reserve order-3 cup",
        "text order-1",
    ]
)


async def demo(terminal: Console) -> dict[str, Any]:
    """Do all of it; return the runs, the effects, and what is wrong with them."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder, "ledger.jsonl")
        os.environ["SHOP_LEDGER"] = str(ledger)  # the local Lambda's processes inherit it
        log: list[str] = []
        options = DevOptions(
            port=0, db=Path(folder, "demo.db"), discovery=False, retry_interval_ms=1000
        )
        wanted = Wanted("aws", "orders.functions:client", HERE)
        async with engine_and_app(options, wanted, log.append) as (server, url):
            terminal.print(f"engine  {server.url}\nLambda  {url}\n")
            if error := await server.sync.sync(url or ""):
                sys.exit(f"the app cannot be registered: {error}")
            async with EngineApi(server.url) as api:
                with progress(terminal) as show:
                    runs = await watch(api, show)
        effects = effects_in(ledger)
    problems = [*problems_with(runs), *problems_with_effects(effects)]
    present(terminal, runs, effects, problems, log)
    return {"ok": not problems, "problems": problems, "runs": runs, "effects": effects}


def present(
    terminal: Console, runs: list[Run], effects: list[str], problems: list[str], log: list[str]
) -> None:
    """Print each run's timeline and the verdict; the function's log only if something is wrong."""
    for run in runs:
        print_run(terminal, run)
        terminal.print()
    if not problems:
        terminal.print(
            f"[green]All {len(runs)} runs ended as they should; each of the {len(effects)} effects "
            "(charges, mails, ...) happened exactly once.[/]"
        )
        return
    for line in log:
        terminal.print(f"function │ {line}", style="dim", markup=False)
    for problem in problems:
        terminal.print(f"✗ {problem}", style="red", markup=False)


@contextmanager
def progress(terminal: Console) -> Iterator[Show]:
    """Give a function that shows runs: a live table in a terminal, else a line per change."""
    if not terminal.is_terminal:
        yield LineByLine(terminal)
        return
    with Live(console=terminal, transient=True, auto_refresh=False) as live:
        yield lambda runs: live.update(progress_table(runs), refresh=True)


def progress_table(runs: list[Run]) -> Table:
    table = Table(box=None, header_style="dim")
    for column in ("function", "about", "status", "now"):
        table.add_column(column, no_wrap=True)
    for run in runs:
        table.add_row(*key_of(run), status_text(run["run"]["status"]), now_doing(run))
    return table


def now_doing(run: Run) -> str:
    """Return the newest line of a run's timeline that has not come to a good end."""
    open_lines = [line for line in run["timeline"] if line["status"] != "Completed"]
    return f"{open_lines[-1]['name']}: {open_lines[-1]['status']}" if open_lines else ""


class LineByLine:
    """Print a line when a run's status changes."""

    def __init__(self, terminal: Console) -> None:
        self._terminal = terminal
        self._told: dict[str, str] = {}

    def __call__(self, runs: list[Run]) -> None:
        for run in runs:
            run_id, status = run["run"]["run_id"], run["run"]["status"]
            if self._told.get(run_id) != status:
                self._told[run_id] = status
                self._terminal.print(" ".join(key_of(run)), status_text(status))


async def send_events(api: EngineApi) -> None:
    """Send events.json one by one; a parcel is packed only once its order waits for that."""
    for event in json.loads((HERE / "events.json").read_text(encoding="utf-8")):
        if event["name"] == "shop/order.packed":
            await until_waiting(api, event["data"]["order_id"])
        await api.send([event])


async def until_waiting(api: EngineApi, order_id: str) -> None:
    """Return when the order's run waits for its packing event."""
    while True:
        for run in await details(api):
            waiting = [line["name"] for line in run["timeline"] if line["status"] == "Waiting"]
            if subject(run) == order_id and "wait-until-packed" in waiting:
                return
        await asyncio.sleep(0.1)


async def watch(api: EngineApi, show: Show) -> list[Run]:
    """Send the events, and show the runs until all have ended or the deadline has passed."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + DEADLINE
    runs: list[Run] = []
    sending = asyncio.create_task(send_events(api))
    try:
        while clock.time() < deadline and not (sending.done() and all_ended(runs)):
            runs = await details(api)
            show(runs)
            if sending.done():
                sending.result()  # raises what went wrong in it
            await asyncio.sleep(0.1)
    finally:
        sending.cancel()
    return runs


async def details(api: EngineApi) -> list[Run]:
    """Return every run with its timeline, oldest first."""
    rows = await api.runs(limit=100)
    return [await api.run(row["run_id"]) for row in reversed(rows)]


def all_ended(runs: list[Run]) -> bool:
    ended = {key_of(run) for run in runs if run["run"]["status"] in ENDED}
    return ended >= EXPECTED.keys() and len(ended) == len(runs)


def subject(run: Run) -> str:
    """Return what a run is about: an order's id, or a day."""
    data = run["events"][0]["data"]
    data = data.get("event", {}).get("data", data)  # of a failure, the event that led to it
    return str(data.get("order_id") or data.get("day"))


def key_of(run: Run) -> tuple[str, str]:
    return run["run"]["slug"], subject(run)


def effects_in(ledger: Path) -> list[str]:
    """Return what happened to the outside world, sorted, one line each."""
    if not ledger.exists():
        return []
    lines = ledger.read_text(encoding="utf-8").splitlines()
    return sorted(effect_of(json.loads(line)) for line in lines)


def effect_of(record: dict[str, Any]) -> str:
    """Return a record of the shop's ledger as a few words."""
    return " ".join(record[part] for part in ("effect", "order_id", "item") if part in record)


def problems_with(runs: list[Run]) -> Iterable[str]:
    """Say of each run that did not end as it should what is wrong with it."""
    found = {key_of(run): run["run"] for run in runs}
    for (function, about), (status, output) in EXPECTED.items():
        run = found.get((function, about))
        if run is None:
            yield f"{function} of {about} never ran"
        elif run["status"] != status:
            yield f"{function} of {about} is {run['status']}, not {status}: {outcome(run)}"
        elif result_of(run) != output:
            yield f"{function} of {about} came to {result_of(run)!r}, not {output!r}"
    if len(runs) > len(EXPECTED):
        yield f"{len(runs)} runs, not {len(EXPECTED)}: a run was started twice"


def problems_with_effects(effects: list[str]) -> Iterable[str]:
    """Say what did not happen, or happened more than once."""
    for effect in sorted({*effects, *EXPECTED_EFFECTS}):
        times, right = effects.count(effect), EXPECTED_EFFECTS.count(effect)
        if times != right:
            yield f"{effect!r} happened {times} times, not {right}"


def result_of(run: dict[str, Any]) -> Any:
    return run["output"]["message"] if run["status"] == "Failed" else run["output"]


def main() -> None:
    as_json = "--json" in sys.argv[1:]
    terminal = console(quiet=as_json)
    try:
        result = asyncio.run(demo(terminal))
    except KeyboardInterrupt:
        sys.exit(130)
    if as_json:
        print_json(result)
    sys.exit(1 if result["problems"] else 0)


if __name__ == "__main__":
    main()
