"""The demo, run as a user runs it; and its shop with the engine killed under it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import demo
from inngest_serverless.cli.api import EngineApi

from .dev_process import Dev

SHOP = Path(demo.__file__).parent
EVENTS = json.loads((SHOP / "events.json").read_text(encoding="utf-8"))


def test_the_demo_ends_well_and_shows_each_step() -> None:
    done = subprocess.run([sys.executable, str(SHOP / "demo.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("charge", "wait-until-packed", "mail", "text", "refund", "add-up"):
        assert f"  {step} " in done.stdout


def test_the_demo_speaks_json() -> None:
    done = subprocess.run(
        [sys.executable, str(SHOP / "demo.py"), "--json"], capture_output=True, text=True
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"], len(result["runs"])) == (0, True, len(demo.EXPECTED))


def test_the_demo_notices_what_is_wrong() -> None:
    assert len(list(demo.problems_with([]))) == len(demo.EXPECTED)
    twice = [*demo.EXPECTED_EFFECTS, "charge order-1"]
    assert list(demo.problems_with_effects(twice)) == ["'charge order-1' happened 2 times, not 1"]


def test_killing_the_engine_loses_nothing_and_repeats_no_finished_step(tmp_path: Path) -> None:
    """kill -9 takes the engine and the local Lambda, three times in the middle of the runs."""
    shop = Shop(tmp_path)
    # How often each effect had happened when its step was on record. (More than once, if an engine
    # was killed between the effect and the record: that step runs again, as it must.)
    finished: dict[str, int] = {}
    for work in (take_orders, go_on, pack):
        with shop.dev() as dev:
            on_record = asyncio.run(asyncio.wait_for(work(dev.url), 60))
            dev.kill()
        happened = Counter(demo.effects_in(shop.ledger))
        finished = {each: happened[each] for each in on_record} | finished
    with shop.dev() as dev:
        runs = asyncio.run(asyncio.wait_for(finish(dev.url), 60))
    effects = demo.effects_in(shop.ledger)
    assert list(demo.problems_with(runs)) == []
    assert set(effects) == set(demo.EXPECTED_EFFECTS)
    assert {each: effects.count(each) for each in finished} == finished
    assert len(finished) >= 6


class Shop:
    """One file of runs, one port, one ledger, for as many engines as it takes."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger.jsonl"
        words = ("--app", "orders.functions:client", "--retry-interval", "1")
        self._words = (*words, "--db", str(folder / "dev.db"), "--port", str(free_port()))

    def dev(self) -> Dev:
        return Dev(*self._words, cwd=SHOP, environ={"SHOP_LEDGER": str(self.ledger)})


# What happens between two kills. Each returns the effects whose steps the engine has on record.


async def take_orders(url: str) -> set[str]:
    async with EngineApi(url) as api:
        await api.send([each for each in EVENTS if each["name"] != "shop/order.packed"])
        return await recorded(api, at_least=2)


async def go_on(url: str) -> set[str]:
    async with EngineApi(url) as api:
        return await recorded(api, at_least=5)


async def pack(url: str) -> set[str]:
    async with EngineApi(url) as api:
        for order_id in ("order-1", "order-2"):
            await demo.until_waiting(api, order_id)
        await api.send([each for each in EVENTS if each["name"] == "shop/order.packed"])
        return await recorded(api, at_least=6)


async def finish(url: str) -> list[demo.Run]:
    async with EngineApi(url) as api:
        while not demo.all_ended(runs := await demo.details(api)):
            await asyncio.sleep(0.05)
        return runs


async def recorded(api: EngineApi, *, at_least: int) -> set[str]:
    while len(found := effects_on_record(await demo.details(api))) < at_least:
        await asyncio.sleep(0.01)
    return found


def effects_on_record(runs: list[demo.Run]) -> set[str]:
    lines: list[dict[str, Any]] = [line for run in runs for line in run["timeline"]]
    done = [line["output"] for line in lines if line["status"] == "Completed"]
    return {demo.effect_of(each) for each in done if isinstance(each, dict) and "effect" in each}


def free_port() -> int:
    """A port that is free now, and the next one too: the app takes it."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
