"""What Azure tells a function app through its environment and host.json; their only reader."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# hh:mm:ss, with days before it and fractions behind it: .NET's form of a time span.
_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")

DEFAULT_SECONDS = {"Dynamic": 300.0}
"""How long the plans let a function run if nothing is set: five minutes under Consumption, ..."""
OTHER_SECONDS = 1800.0
"""... thirty under any other.
https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout"""


@dataclass(frozen=True)
class Environment:
    """Facts that Azure sets for the life of a worker.

    `region` is as in "west-europe", "unknown" off Azure. `hostname` is the app's own, without what
    a gateway in front of it is called, and empty off Azure. `function_timeout` is how many seconds
    the host gives a call before it ends the worker; None: for ever.
    """

    region: str = "unknown"
    hostname: str = ""
    function_timeout: float | None = OTHER_SECONDS

    @classmethod
    def from_env(cls, environ: Mapping[str, str], directory: Path) -> Environment:
        """Read the variables, and host.json in the app's folder: where Azure says, else here."""
        root = Path(environ.get("AzureWebJobsScriptRoot") or directory)
        # An app setting of this name stands above the entry in host.json.
        text = environ.get("AzureFunctionsJobHost__functionTimeout") or _timeout_in(root)
        plan = DEFAULT_SECONDS.get(environ.get("WEBSITE_SKU", ""), OTHER_SECONDS)
        return cls(
            region=environ.get("REGION_NAME", "").strip().lower().replace(" ", "-") or "unknown",
            hostname=environ.get("WEBSITE_HOSTNAME", ""),
            function_timeout=_seconds(text, plan),
        )


def _timeout_in(root: Path) -> object:
    try:
        # A file that the host could not read either would not have let us start.
        settings = json.loads((root / "host.json").read_text("utf-8-sig"))
    except (OSError, ValueError):
        return None
    return settings.get("functionTimeout") if isinstance(settings, dict) else None


def _seconds(span: object, default: float) -> float | None:
    """What a time span says; what is none counts as not set, "-1" as no limit."""
    if not isinstance(span, str):
        return default
    if span.strip() == "-1":
        return None
    match = _SPAN.fullmatch(span.strip())
    if match is None:
        return default
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
