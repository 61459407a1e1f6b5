"""Steps at which a run waits for somebody's yes or no: `ctx.step.approval`.

The links are made in a step, so a replay has the same ones. Who follows a link sees a page (see
`approval_page`) that sends an event, and the run waits for that event.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from inngest_sdk import asks, duration
from inngest_sdk.approval_link import (
    MAX_TEXT,
    MAX_TITLE,
    Links,
    Ticket,
    check_shown,
    link,
    with_choice,
)
from inngest_sdk.asks import MAX_WAIT, Ask
from inngest_sdk.client import Inngest
from inngest_sdk.duration import Duration
from inngest_sdk.events import Event
from inngest_sdk.execution import step_running
from inngest_sdk.middleware import Hooks, await_hooks, call_hooks
from inngest_sdk.policy import StepName, options

EVENT = "approval/decided"
"""The event that a decision is; its data: id, approved, by, comment."""

# The wait outlasts the link by this: a decision of the last second is still on its way.
GRACE = timedelta(seconds=10)


@dataclass(frozen=True)
class Decision:
    """What somebody has decided, and when. `by` and `comment` are what they typed into the page,
    None if nothing: whoever has the link may decide, in any name."""

    approved: bool
    by: str | None
    comment: str | None
    at: datetime


@dataclass(frozen=True)
class Draft:
    """An approval that is to be asked for."""

    client: Inngest
    links: Links
    run_id: str
    step_id: StepName
    title: str
    text: str
    expires: timedelta

    def made(self) -> Hooks[dict[str, Any]]:
        """What is kept of it: its id, its link, and when that expires."""
        step = step_running()
        assert step is not None  # this is the body of one
        seconds = yield self.links.seconds()
        expires = math.ceil(seconds + self.expires.total_seconds())
        ticket = Ticket(f"{self.run_id}-{step.step.hashed}", expires, self.title, self.text)
        keys = yield self.links.signing_keys()
        url = link(self.client, keys, self.links.app_url(), ticket)
        return {"id": ticket.id, "url": url, "expires": expires}

    def ask(self, body: Callable[[], Any]) -> Ask:
        """The step that makes it."""
        return asks.run(self.step_id, body)

    def ask_async(self) -> Ask:
        """The step of an async function."""

        async def make() -> dict[str, Any]:
            return await await_hooks(self.made())

        return self.ask(make)

    def ask_sync(self) -> Ask:
        """The step of a sync function."""
        return self.ask(lambda: call_hooks(self.made()))


def draft(
    client: Inngest,
    links: Links,
    run_id: str,
    step_id: StepName,
    title: str,
    text: str,
    expires: Duration,
) -> Draft:
    """An approval to ask for. Raises FunctionConfigInvalidError for what cannot be in a link."""
    what = f"approval {options(step_id).id!r}"
    check_shown(f"the title of {what}", title, MAX_TITLE)
    check_shown(f"the text of {what}", text, MAX_TEXT)
    option = f"expires of {what}"
    duration.to_wire(expires, option=option, minimum=timedelta(seconds=1), maximum=MAX_WAIT)
    return Draft(client, links, run_id, step_id, title, text, duration.length(expires))


@dataclass(frozen=True)
class _Asked:
    """An approval that has been asked for. `reach` reaches a step, and may have to be awaited."""

    id: str
    url: str
    expires: datetime
    name: str = field(repr=False)
    _links: Links = field(repr=False, compare=False)
    _reach: Callable[[Ask], Any] = field(repr=False, compare=False)
    _found: list[Decision | None] = field(default_factory=list, repr=False, compare=False)

    @property
    def approve_url(self) -> str:
        """The link to the page with "Approve" put first; nothing is decided by opening it."""
        return with_choice(self.url, "approve")

    @property
    def reject_url(self) -> str:
        """The link to the page with "Reject" put first; nothing is decided by opening it."""
        return with_choice(self.url, "reject")

    def _decided(self) -> Hooks[Decision | None]:
        if not self._found:
            seconds = yield self._links.seconds()
            left = timedelta(seconds=max(0, math.ceil(self.expires.timestamp() - seconds)))
            condition = f"async.data.id == '{self.id}'"
            timeout = min(left + GRACE, MAX_WAIT)
            step_id = f"{self.name}:decision"
            ask = asks.wait_for_event(step_id, EVENT, condition, timeout, _decision)
            self._found.append((yield self._reach(ask)))
        return self._found[0]


@dataclass(frozen=True)
class Approval(_Asked):
    """Links for somebody to decide with, until `expires`: send one of them in a step."""

    async def decision(self) -> Decision | None:
        """Wait for the decision, as the step "<id>:decision"; None if the link expired before.

        The first decision counts. One that is made before the run waits is lost: send the links
        and wait side by side, or do nothing long in between.
        """
        return await await_hooks(self._decided())


@dataclass(frozen=True)
class ApprovalSync(_Asked):
    """Links for somebody to decide with; see Approval."""

    def decision(self) -> Decision | None:
        """Wait for the decision; see `Approval.decision`."""
        return call_hooks(self._decided())


def asked(
    step_id: StepName, memo: dict[str, Any], links: Links, reach: Callable[[Ask], Any]
) -> tuple[Any, ...]:
    """What an Approval is made of."""
    name = options(step_id).id
    return memo["id"], memo["url"], _moment(memo["expires"]), name, links, reach


def _decision(event: Event) -> Decision:
    data = event.data
    return Decision(
        approved=data.get("approved") is True,
        by=data.get("by"),
        comment=data.get("comment"),
        at=_moment(event.ts / 1000),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
