"""What an app posts in the middle of a call (engine.md 1.8). Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from inngest_serverless.engine import jsontext

ACCEPTED: Final = ("StepRun", "Step", "StepPlanned", "DeferAdd", "DeferAbort")
"""The ops that may come in the middle of a call (wire.md A14); the rest ends it."""


@dataclass(frozen=True)
class Checkpoint:
    """The ops, and the call that they are from: its job, and which time that was given out.

    `generation` is 0 if the app does not say; then only a job that is gone makes the call stale.
    """

    job_id: str
    generation: int
    ops: tuple[dict[str, Any], ...]


def read_checkpoint(body: bytes) -> Checkpoint:
    """Read the body; the fields that are left out are not needed. Raises ValueError."""
    fields = jsontext.read(body)
    if not isinstance(fields, dict):
        raise ValueError("the body must be an object")
    steps = fields.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ValueError("steps must be a list of ops")
    for place, op in enumerate(steps):
        if op.get("op") not in ACCEPTED:
            raise ValueError(f"step {place} is {op.get('op')!r}, not one of {', '.join(ACCEPTED)}")
    return Checkpoint(_job_id(fields.get("qi_id")), _generation(fields), tuple(steps))


def _generation(fields: dict[str, Any]) -> int:
    value = fields.get("generation_id")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _job_id(qi_id: object) -> str:
    """The job in base64("<job>::<shard>")."""
    try:
        text = base64.b64decode(str(qi_id), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    job_id, separator, _ = text.partition("::")
    if not separator:
        raise ValueError(f"qi_id is {qi_id!r}; it must be the one that the call brought")
    return job_id
