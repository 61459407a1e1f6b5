"""What a local Lambda function is: its settings, and the environment that a runtime sees."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ACCOUNT = "123456789012"
# libcurl, inside the runtime client, would send even calls to the Runtime API through a proxy.
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# Makes the runtime client fork workers (Managed Instances): several would share one Runtime API.
FORKING = "AWS_LAMBDA_MAX_CONCURRENCY"


@dataclass(frozen=True)
class LambdaConfig:
    """Settings of a local Lambda function.

    Times are in seconds. `handler` is module.attribute, as the runtime client wants it.
    `environment` is added to the caller's own, which the processes inherit less its proxies.
    `directory` is the task root (default: the working directory): working directory of the
    processes and first on their sys.path. `memory_mb` is told to the function, not enforced.
    `max_concurrency` is the most processes at once. A request beyond it waits for up to
    `queue_timeout`, then is throttled; 0 throttles at once, as Lambda does. Waiting is the default
    because one machine has few processes, and a burst should not end in retries with backoff.
    """

    handler: str = "inngest_serverless.aws.handler"
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    max_concurrency: int = 10
    memory_mb: int = 512
    function_name: str = "local"
    directory: Path | None = None
    init_timeout: float = 10.0
    queue_timeout: float = 60.0

    @property
    def task_root(self) -> Path:
        return (self.directory or Path.cwd()).resolve()

    def region(self, inherited: Mapping[str, str]) -> str:
        """The region set here, else the inherited one, else us-east-1."""
        return self.environment.get("AWS_REGION") or inherited.get("AWS_REGION") or "us-east-1"

    def function_arn(self, inherited: Mapping[str, str]) -> str:
        return f"arn:aws:lambda:{self.region(inherited)}:{ACCOUNT}:function:{self.function_name}"

    def process_environment(
        self, api_address: str, log_stream: str, inherited: Mapping[str, str]
    ) -> dict[str, str]:
        """Return all environment variables of a runtime process that talks to `api_address`.

        The names are those of https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html;
        `environment` may replace any but those that tie the process to this emulator.
        """
        kept = {name: value for name, value in inherited.items() if name.lower() not in PROXIES}
        told = self._told(log_stream, self.region(inherited))
        ties = {
            "AWS_LAMBDA_RUNTIME_API": api_address,
            "_HANDLER": self.handler,
            "LAMBDA_TASK_ROOT": str(self.task_root),
        }
        merged = {**kept, **told, **self.environment, **ties}
        return {name: value for name, value in merged.items() if name != FORKING}

    def _told(self, log_stream: str, region: str) -> dict[str, str]:
        return {
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": self.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.function_name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "TZ": ":UTC",
        }
