"""What Google Cloud tells a function through its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TIMEOUT = "CLOUD_RUN_TIMEOUT_SECONDS"


@dataclass(frozen=True)
class Environment:
    """Facts that are set for the life of a process.

    `service` is the function's name as Cloud Run has it, None elsewhere. `timeout` is how many
    seconds a request may take, None where nothing says so.
    """

    service: str | None = None
    timeout: float | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Environment:
        """Read the variables that Cloud Run and functions-framework define."""
        return cls(environ.get("K_SERVICE") or None, _seconds(environ.get(TIMEOUT, "")))

    def deadline(self, now: float) -> float | None:
        """When a request that came at `now` will be cut off; both are Unix seconds."""
        return None if self.timeout is None else now + self.timeout


def _seconds(text: str) -> float | None:
    # functions-framework reads it with int(), and 0 means that there is no limit.
    text = text.strip()
    return float(text) if text.isdecimal() and len(text) < 9 and int(text) > 0 else None
