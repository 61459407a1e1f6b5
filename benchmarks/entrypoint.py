"""Cold start and calls of the Lambda handler, side by side with mangum + FastAPI + inngest.

Each figure comes from a fresh process, in turns, so that both sides see the same machine. Cold
start is wall time from the start of Python to the handler's module loaded, less a bare Python;
a call is one event through the handler, warm.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha1
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROUNDS = 9


def event(memoized: int) -> dict[str, Any]:
    """A call of f0 with this many finished steps, as a Function URL event."""
    ids = [sha1(f"s{n}".encode()).hexdigest() for n in range(memoized)]
    data = {"name": "bench/run", "data": {"steps": memoized}, "id": "e", "ts": 1, "user": {}}
    ctx = {
        "attempt": 0,
        "disable_immediate_execution": False,
        "env": "",
        "fn_id": "f",
        "max_attempts": 4,
        "qi_id": "q",
        "request_id": "r",
        "run_id": "01RUN",
        "stack": {"current": memoized, "stack": ids},
        "step_id": "step",
        "use_api": False,
    }
    body = {
        "ctx": ctx,
        "event": data,
        "events": [data],
        "steps": {each: {"data": 1} for each in ids},
        "use_api": False,
        "version": 2,
    }
    host = "abc.lambda-url.eu-central-1.on.aws"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/api/inngest",
        "rawQueryString": "fnId=bench-f0&stepId=step",
        "headers": {"host": host, "content-type": "application/json"},
        "requestContext": {
            "domainName": host,
            "http": {"method": "POST", "path": "/api/inngest", "sourceIp": "127.0.0.1"},
            "stage": "$default",
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def cold(code: str) -> float:
    """Milliseconds of a fresh Python that runs this."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True)
    return (time.perf_counter() - started) * 1000


def warm(side: str, memoized: int) -> float:
    """Microseconds of one call, in a fresh process."""
    command = [sys.executable, __file__, "--measure", side, str(memoized)]
    return float(subprocess.run(command, cwd=HERE, check=True, capture_output=True).stdout)


def measure(side: str, memoized: int) -> None:
    """In the fresh process: print the best of several rounds of calls."""
    handler: Callable[[Any, Any], Any] = import_module(side).handler
    asked = event(memoized)
    answer = handler(asked, None)
    assert answer["statusCode"] == 200, answer
    calls = 200 if memoized < 100 else 3
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(calls):
            handler(asked, None)
        rounds.append((time.perf_counter() - started) / calls * 1e6)
    print(min(rounds))


def main() -> None:
    """Print a table."""
    sides = {"bare": "", "ours": "import ours", "inngest": "import inngest", "peer": "import peer"}
    starts: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, code in sides.items():
            starts[name].append(cold(code))
    took = {name: statistics.median(times) for name, times in starts.items()}
    ours, sdk, peer = (took[name] - took["bare"] for name in ("ours", "inngest", "peer"))
    print("| what | ours | mangum + FastAPI + inngest | ratio |")
    print("|---|---|---|---|")
    print(f"| cold start, 5 functions | {ours:.0f} ms | {peer:.0f} ms | {ours / peer:.2f} |")
    print(
        f"| cold start beside `import inngest` alone | {ours:.0f} ms | {sdk:.0f} ms "
        f"| {ours / sdk:.2f} |"
    )
    for memoized in (0, 10, 100, 1000):
        mine, theirs = warm("ours", memoized), warm("peer", memoized)
        print(
            f"| one call, {memoized} memoized steps | {mine:.0f} µs | {theirs:.0f} µs "
            f"| {mine / theirs:.2f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main()
