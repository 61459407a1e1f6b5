"""Killed anywhere, the engine loses nothing that it acknowledged and repeats nothing finished."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from inngest_serverless.engine.store import Store
from tests.engine.scripted import hashed

ROOT = Path(__file__).parents[2]
EVENTS, ROUNDS = 60, 4
"""Two kills a round."""

PROGRAM = """
import asyncio, os, random, sys
from pathlib import Path
from inngest_serverless.engine.engine import Engine, EngineOptions
from tests.engine.scripted import Scripted, gather, invoke, run, sleep

folder, events = Path(sys.argv[1]), int(sys.argv[2])
executed = os.open(folder / "executed", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
acked = os.open(folder / "acked", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

def parent(event):
    n = event["data"]["n"]
    one = yield run("one", lambda: n)
    two, three, _ = yield gather(run("two", lambda: n + 1), run("three", lambda: n + 2),
                                 sleep("nap", "20ms"))
    child = yield invoke("call", "child", {"n": n})
    last = yield run("last", lambda: one + two + three + child)
    return last

def child(event):
    value = yield run("inner", lambda: event["data"]["n"] * 10)
    return value

app = Scripted().add("parent", parent).add("child", child)

async def caller(call):
    await asyncio.sleep(random.random() * 0.01)
    before = len(app.ran)
    reply = await app(call)
    for name in app.ran[before:]:
        os.write(executed, f"{call.run_id} {name}\\n".encode())
    await asyncio.sleep(random.random() * 0.01)
    return reply

async def main():
    async with Engine(caller, EngineOptions(db=folder / "engine.db")) as engine:
        app.register(engine)
        print("ready", flush=True)
        done = (folder / "acked").read_text().splitlines()
        for n in range(len(done), events):
            engine.ingest([engine.new_event(name="test/parent", id=f"e{n}", data={"n": n})])
            os.write(acked, f"e{n}\\n".encode())
            await asyncio.sleep(0.01)
        while any(row.status in ("Scheduled", "Running") for row in engine.runs(limit=10**6)):
            await asyncio.sleep(0.01)
        print("done", flush=True)

asyncio.run(main())
"""


def start(folder: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PROGRAM, str(folder), str(EVENTS)]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def executed(folder: Path) -> list[tuple[str, str]]:
    pairs = (line.split() for line in (folder / "executed").read_text().splitlines())
    return [(run_id, hashed(name)) for run_id, name in pairs]


def committed(folder: Path) -> set[tuple[str, str]]:
    store = Store(folder / "engine.db")
    rows = store.runs(limit=10**6, before=None, status=None, slug=None)
    found = {(row.run_id, step_id) for row in rows for step_id in store.steps(row.run_id)}
    store.close()
    return found


def test_killed_at_random_it_ends_every_run_and_repeats_no_finished_step(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(ROUNDS):
        process = start(tmp_path)
        time.sleep(0.02 + chance.random() * 0.2)
        process.kill()
        process.communicate()
        finished, so_far = committed(tmp_path), len(executed(tmp_path))
        process = start(tmp_path)
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.communicate()
        assert finished.isdisjoint(executed(tmp_path)[so_far:])
    finished, so_far = committed(tmp_path), len(executed(tmp_path))
    output, _ = start(tmp_path).communicate(timeout=60)
    assert output == "done\n"
    assert finished.isdisjoint(executed(tmp_path)[so_far:])
    check_every_run(tmp_path)


def check_every_run(folder: Path) -> None:
    store = Store(folder / "engine.db")
    rows = store.runs(limit=10**6, before=None, status=None, slug="parent")
    outputs = Counter(row.output for row in rows)
    assert {row.status for row in rows} == {"Completed"}
    assert outputs == Counter(13 * n + 3 for n in range(EVENTS))
    assert store.next_due_ms(timers=True) is None
    assert store.next_due_ms(timers=False) is None
    store.close()
