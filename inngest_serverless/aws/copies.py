"""What a process must not share with its copies.

Lambda copies a process in two ways. SnapStart keeps its state once it is loaded, and starts any
number of processes from that. Managed Instances fork workers. Connections would then be in many
hands, secrets stored with the state, and random numbers the same everywhere.

AWS's workers load the app after they are forked, and share nothing; a fork by the app itself, in a
step, would.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from inngest_sdk import drive, transport
from inngest_serverless.aws.environment import Environment

Hook = Callable[[], None]

LOG = logging.getLogger("inngest_serverless")

_before: list[Hook] = []
_after: list[Hook] = []


def before_snapshot(forget: Hook) -> Hook:
    """Have `forget` called before the state of this process is kept; gives it back, as decorators
    do. What it raises keeps Lambda from publishing the function's version."""
    _before.append(forget)
    return forget


def after_restore(renew: Hook) -> Hook:
    """Have `renew` called in each process that starts from a kept state, before its first event."""
    _after.append(renew)
    return renew


def watch(environment: Environment) -> None:
    """Have the hooks called when their time comes."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget_inherited)
    if not environment.takes_snapshot:
        return
    try:
        # The runtime has it wherever there are snapshots. It ships no types.
        import snapshot_restore_py  # type: ignore[import-untyped,unused-ignore]  # ships no types
    except ImportError:
        LOG.warning("SnapStart is on, but its hooks (snapshot_restore_py) are missing")
        return
    snapshot_restore_py.register_before_snapshot(forget)
    snapshot_restore_py.register_after_restore(renew)


def forget() -> None:
    """Let go of what a snapshot must not hold: open connections, fetched secrets, and what the
    hooks know of."""
    transport.close()
    secrets = sys.modules.get("inngest_serverless.secrets")
    if secrets is not None:
        secrets.forget()
    for hook in _before:
        hook()


def renew() -> None:
    """Make this process differ from others of the same snapshot.

    The kernel's randomness, which ids and keys are made of (`os.urandom`, `uuid4`, `secrets`),
    differs anyway; the generator of `random` is part of the state.
    """
    random = sys.modules.get("random")
    if random is not None:
        random.seed()
    for hook in _after:
        hook()


def forget_inherited() -> None:
    """Leave to the parent process what is its own: connections, event loops, threads."""
    transport.disown()
    drive.disown()
    streaming = sys.modules.get("inngest_sdk.streaming")
    if streaming is not None:
        streaming.disown()
