"""Entry points for the tests of the server around them."""

import os
import subprocess
import sys
from typing import Any


def environment(request: Any) -> dict[str, str]:
    print(f"asked for {request.path}")
    return dict(os.environ)


def path(request: Any) -> list[str]:
    return [sys.path[0], os.getcwd()]


def wait(request: Any) -> str:
    print("waiting", file=sys.stderr)
    with open(request.args["gate"]) as gate:
        return gate.read()


def leave_behind(request: Any) -> str:
    """Start a process that is in no group of ours and keeps our output open."""
    left = subprocess.Popen(
        [sys.executable, "-c", "import threading; threading.Event().wait()"],
        start_new_session=True,
    )
    return str(left.pid)


def write(request: Any) -> str:
    sys.stdout.write("x" * 300_000 + "\nlast words without an end")
    sys.stdout.flush()
    return "written"
