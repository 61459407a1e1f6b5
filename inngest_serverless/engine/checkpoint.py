"""What an app posts in the middle of a call (engine.md 1.8). Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from inngest_serverless.engine import jsontext


def read_checkpoint(body: bytes) -> tuple[str, list[dict[str, Any]]]:
    """The job whose call this is, and the ops. Raises ValueError with what is wrong.

    The other fields are not needed. A call that is over is known by its job being gone; of two
    calls at once of the same job, the first to save a step wins.
    """
    fields = jsontext.read(body)
    if not isinstance(fields, dict):
        raise ValueError("the body must be an object")
    steps = fields.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ValueError("steps must be a list of ops")
    return _job_id(fields.get("qi_id")), steps


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
