"""Invocations that only keep a function warm. They need nothing of the app."""

from __future__ import annotations

from typing import Any

ANSWER = {"ok": True, "warm": True}


def is_warm_up(event: Any, forwards: bool) -> bool:
    """Whether this is an event as warmers send it.

    A schedule's own event too (EventBridge rules and EventBridge Scheduler): it can mean nothing
    else to a function that serves Inngest, whose server keeps the schedules, unless the function
    `forwards` such events.
    """
    if not isinstance(event, dict):
        return False
    return (
        event.get("source") == "serverless-plugin-warmup"
        or event.get("warmer") is True  # lambda-warmer
        or (event.get("detail-type") == "Scheduled Event" and not forwards)
    )
