"""What Lambda tells a function through its environment: this entrypoint's only reader of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HANDLER = "inngest_serverless.aws.handler"


@dataclass(frozen=True)
class Environment:
    """Facts that Lambda sets for the life of a process.

    `region` is "unknown" off Lambda. `starts_here`: Lambda is starting, and what it loads as the
    function's handler is ours. `escapes_unicode`: the runtime writes answers as ASCII JSON.
    `has_runtime_api`: a Lambda runtime runs this process. `takes_snapshot`: its state will be kept
    and copied (SnapStart). `streaming` is INNGEST_STREAMING as it stands; it matters only where no
    client could be loaded, whose own setting counts.
    """

    region: str = "unknown"
    starts_here: bool = False
    escapes_unicode: bool = True
    has_runtime_api: bool = False
    takes_snapshot: bool = False
    streaming: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Environment:
        """Read the variables that Lambda defines."""
        return cls(
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "unknown",
            starts_here="AWS_LAMBDA_RUNTIME_API" in environ
            and environ.get("_HANDLER", "").replace("/", ".") == HANDLER,
            escapes_unicode=not _writes_utf8(environ.get("AWS_EXECUTION_ENV", "")),
            has_runtime_api="AWS_LAMBDA_RUNTIME_API" in environ,
            takes_snapshot=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start",
            streaming=environ.get("INNGEST_STREAMING", ""),
        )


def _writes_utf8(execution_env: str) -> bool:
    # From python3.12 on the managed runtime writes non-ASCII characters as they are; before, and
    # in container images (where the variable is missing), each becomes \uXXXX.
    # https://github.com/aws/aws-lambda-python-runtime-interface-client (lambda_runtime_marshaller)
    family, _, minor = execution_env.partition("AWS_Lambda_python3.")
    return not family and minor.isdigit() and int(minor) >= 12
