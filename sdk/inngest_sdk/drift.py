"""Drift: a run whose function has changed under it.

A step is found again by its id. When code no longer reaches a step that has finished, that work
was for nothing, and what was put in its place runs although it may be done. Code that is the same
reaches every finished step again: memos are replayed in the order in which they came to be, and
more of them never make it reach fewer. So a call that ends with finished steps unread, because the
function has returned or stands at another step, tells of other code.

Not every such call tells it for certain, and none is warned of on a guess:

    the call                                             is warned of
    is for one step                                      never: it may end before all memos are read
    ends with an error                                   never: the error may come before the steps
    of code that goes from step to step                  for all that is unread
    of async code with tasks or time limits: not over    never: a task may wait for what is no step
    ... returned, memos in no known order                never: another branch may have won
    ... returned                                         for what the code does not name any more

The last three take the code's word for it (see `source`): what an async function waits for beside
steps is in no memo, so the same code may reach other steps first, or give others up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inngest_sdk.effects import Outcome, Raised, Returned
from inngest_sdk.execution import Execution, SyncExecution

SHOWN = 5

# What makes async code do several things at once, or give up after a time.
BRANCHING = frozenset(
    (
        *("TaskGroup", "as_completed", "create_task", "ensure_future", "gather", "parallel"),
        *("shield", "timeout", "timeout_at", "wait", "wait_for"),
        *("create_task_group", "fail_after", "move_on_after", "start_soon"),  # anyio's
    )
)


def drift(execution: Execution, outcome: Outcome, handler: Callable[..., Any]) -> str | None:
    """What to warn of at the end of a call of `handler`; None if the function is what it was, or
    if there is no telling."""
    if execution.target is not None or not execution.unreached or isinstance(outcome, Raised):
        return None
    from inngest_sdk.source import ids_of, source_of  # seldom needed: not in a cold start

    source = source_of(handler)
    named = ids_of(execution.unreached, source.texts | source.nearby)
    lost = sorted(execution.unreached, key=lambda hashed: execution.rank[hashed])
    if source.names & BRANCHING and not isinstance(execution, SyncExecution):
        in_order = set(execution.call.steps) <= set(execution.call.stack)
        told = isinstance(outcome, Returned) and in_order
        lost = [hashed for hashed in lost if told and hashed not in named]
    return _warning(execution, lost, named) if lost else None


def _warning(execution: Execution, lost: list[str], named: Mapping[str, str]) -> str:
    known = execution.call.steps
    new = [repr(name) for hashed, name in execution.reached.items() if hashed not in known]
    count = "1 finished step" if len(lost) == 1 else f"{len(lost)} finished steps"
    there = f"; it came to {_list(new)} instead" if new else ""
    return (
        f"run {execution.call.run_id} has {count} that this call has not reached: "
        f"{_list([_shown(hashed, named) for hashed in lost])}{there}. Either the function has "
        "changed while the run was open, or it goes by more than its event and its steps (time, "
        "chance, a database). Give a step that does the same work its old id, or let such runs "
        "end before they meet new code; `inngest-serverless check-replay` tells beforehand."
    )


def _shown(hashed: str, named: Mapping[str, str]) -> str:
    return f"{named[hashed]!r} ({hashed})" if hashed in named else hashed


def _list(items: list[str]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "")
