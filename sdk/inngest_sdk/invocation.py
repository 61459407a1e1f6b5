"""One call of one user function, ready for a driver: the bridge from protocol to user code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inngest_sdk import wire
from inngest_sdk.checkpoint import Checkpoints
from inngest_sdk.client import Inngest, RegisteredHandler
from inngest_sdk.effects import AsyncDriver, Driver, Outcome
from inngest_sdk.execution import SyncExecution
from inngest_sdk.tools import Context, ContextSync, Group, GroupSync, Step, StepSync


@dataclass(frozen=True)
class FunctionCall:
    """A call, its handler, and the step it is for (None: whatever comes next)."""

    client: Inngest
    handler: RegisteredHandler
    call: wire.Call
    target: str | None
    checkpoints: Checkpoints | None = None

    @property
    def is_async(self) -> bool:
        """Whether the user function is a coroutine function."""
        return self.handler.is_async

    def run(self, drive: Driver) -> Outcome:
        """Run a sync function to its outcome."""
        execution = SyncExecution(self.call, self.target, drive, self.checkpoints)
        context = ContextSync(
            **self._facts(),
            group=GroupSync(execution),
            step=StepSync(self.client, execution),
        )
        return execution.run(lambda: self.handler.callable(context))

    async def run_async(self, drive: AsyncDriver) -> Outcome:
        """Run an async function to its outcome, on the running loop."""
        from inngest_sdk.parallel import AsyncExecution

        execution = AsyncExecution(self.call, self.target, drive, self.checkpoints)
        context = Context(**self._facts(), group=Group(), step=Step(self.client, execution))
        return await execution.run(lambda: self.handler.callable(context))

    def _facts(self) -> dict[str, Any]:
        return {
            "attempt": self.call.attempt,
            "event": self.call.event,
            "events": list(self.call.events),
            "job_id": self.call.job_id,
            "logger": self.client.logger,
            "request_id": self.call.request_id,
            "run_id": self.call.run_id,
        }
