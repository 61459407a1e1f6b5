"""A small app for the engine to call: functions written as generators, replayed like an SDK does.

    def order(event):
        paid = yield run("pay", lambda: 7)
        both = yield gather(run("a"), branch())     # branches are generators, or single steps
        return paid

A step resolves when its id is in the call's `steps`. What cannot go on is reported as an SDK of
request version 2 does: one new step runs at once, several are planned.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.model import (
    App,
    Call,
    CancelOn,
    CronTrigger,
    Event,
    EventTrigger,
    Failed,
    Finished,
    FunctionConfig,
    Ops,
    Reply,
    RunRow,
)

Flow: TypeAlias = Generator["Step | Group", Any, Any]
Body: TypeAlias = Callable[[dict[str, Any]], Flow]

APP = App("app-id", "shop", "http://localhost:9000/api/inngest")


def hashed(name: str) -> str:
    """The id of a step on the wire."""
    return hashlib.sha1(name.encode()).hexdigest()


class StepFailed(Exception):
    """A step that failed for good, as user code sees it."""


class Boom(Exception):
    """What a body or a step raises; `final` as a non-retriable error does."""

    def __init__(self, message: str = "boom", *, final: bool = False, at: int | None = None):
        super().__init__(message)
        self.final, self.at = final, at


@dataclass(frozen=True)
class Step:
    """One step: its op, and for StepRun what it does."""

    name: str
    op: dict[str, Any]
    work: Callable[[], Any] | None = None

    @property
    def id(self) -> str:
        return hashed(self.name)


@dataclass(frozen=True)
class Group:
    """Branches side by side. `first`: the first that is done is the result."""

    branches: Sequence[Any]
    mode: str = "wait"
    first: bool = False


def run(name: str, work: Callable[[], Any] | None = None) -> Step:
    return Step(name, {"op": "StepRun", "name": name}, work or (lambda: name))


def sleep(name: str, duration: str) -> Step:
    return Step(name, {"op": "Sleep", "name": duration, "opts": {"duration": duration}})


def wait(name: str, event: str, timeout: str = "1h", if_: str | None = None) -> Step:
    opts = {"event": event, "timeout": timeout, "if": if_}
    return Step(name, {"op": "WaitForEvent", "name": name, "opts": opts})


def signal(name: str, signal: str, **opts: Any) -> Step:
    return Step(name, {"op": "WaitForSignal", "opts": {"signal": signal, **opts}})


def invoke(name: str, function_id: str, data: Any = None, timeout: str | None = None) -> Step:
    payload = {"data": data or {}}
    opts = {"function_id": function_id, "payload": payload, "timeout": timeout}
    return Step(name, {"op": "InvokeFunction", "opts": opts})


def fetch(name: str, url: str = "http://localhost:1/", **opts: Any) -> Step:
    return Step(name, {"op": "Gateway", "opts": {"url": url, **opts}})


def infer(name: str, url: str, **opts: Any) -> Step:
    return Step(name, {"op": "AIGateway", "opts": {"url": url, "body": {"model": "m"}, **opts}})


def gather(*branches: Any, mode: str = "wait") -> Group:
    """All branches; `mode` race asks for a discovery after each completion."""
    return Group(branches, mode)


def race(*branches: Any) -> Group:
    """The first branch that is done."""
    return Group(branches, "race", first=True)


def error_body(error: Exception) -> dict[str, Any]:
    return {"name": type(error).__name__, "message": str(error), "stack": "Traceback"}


@dataclass
class Scripted:
    """The app. `calls` is every call made; `ran` every step executed; `entered` each body."""

    version: int = 2
    bodies: dict[str, Body] = field(default_factory=dict)
    functions: list[FunctionConfig] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def add(
        self,
        slug: str,
        body: Body,
        *,
        event: str | None = None,
        triggers: Sequence[EventTrigger | CronTrigger] = (),
        retries: int = 0,
        cancels: Sequence[CancelOn] = (),
        **options: Any,
    ) -> Scripted:
        """Add a function; it is triggered by `test/<slug>` unless told otherwise."""
        self.bodies[slug] = body
        self.functions.append(
            FunctionConfig(
                function_id=f"{slug}-uuid",
                app_id=APP.app_id,
                app_name=APP.name,
                slug=slug,
                name=slug,
                url=f"{APP.url}?fnId={slug}&stepId=step",
                retries=retries,
                triggers=tuple(triggers) or (EventTrigger(event or f"test/{slug}"),),
                cancels=tuple(cancels),
                idempotency=options.pop("idempotency", None),
                config=options,
            )
        )
        return self

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        slug = call.function_id.removesuffix("-uuid")
        replay = Replay(call, self.version, self.ran)
        try:
            return replay.reply(self.bodies[slug](call.events[0].to_json()))
        except Boom as error:
            body = error_body(error)
            told = {"error": "invalid status code: 500", **body}
            return Failed(told, body, retriable=not error.final, retry_at_ms=error.at)

    def engine(self, clock: ManualClock | None = None, **options: Any) -> Engine:
        """An engine that calls this app."""
        return Engine(self, EngineOptions(**options), clock or ManualClock())

    def register(self, engine: Engine) -> bool:
        return engine.register(APP, self.functions)


class Blocked(Exception):
    """A branch waits for steps that are not in `steps` yet."""


class Replay:
    """One call: the body as far as its memos carry it."""

    def __init__(self, call: Call, version: int, ran: list[str]) -> None:
        self.call, self.version, self.ran = call, version, ran
        self.found: dict[str, tuple[Step, bool]] = {}

    def reply(self, flow: Flow) -> Reply:
        try:
            return Finished(self.drive(flow, racing=False)[0])
        except Blocked:
            return self.report()

    def drive(self, branch: Any, racing: bool) -> tuple[Any, int]:
        """The value of a branch, and the place in the stack that completed it."""
        if isinstance(branch, Step):
            return self.resolve(branch, racing)
        if isinstance(branch, Group):
            return self.join(branch)
        value: Any = None
        place = 0
        error: Exception | None = None
        while True:
            try:
                wanted = branch.throw(error) if error else branch.send(value)
            except StopIteration as stop:
                return stop.value, place
            error = None
            try:
                value, place = self.drive(wanted, racing)
            except StepFailed as failed:
                error = failed

    def resolve(self, step: Step, racing: bool) -> tuple[Any, int]:
        if step.id not in self.call.steps:
            self.found[step.id] = (step, racing)
            raise Blocked
        value = self.call.steps[step.id]
        if isinstance(value, dict) and "error" in value:
            raise StepFailed(value["error"]["message"])
        data = value["data"] if isinstance(value, dict) and value.keys() == {"data"} else value
        return data, self.call.stack.index(step.id) + 1

    def join(self, group: Group) -> tuple[Any, int]:
        done = []
        for branch in group.branches:
            try:
                done.append(self.drive(branch, group.mode == "race"))
            except StepFailed as failed:
                done.append((failed, 0))
            except Blocked:
                continue
        if group.first and done:
            return min(done, key=lambda each: each[1])
        if len(done) < len(group.branches):
            raise Blocked
        return [value for value, _ in done], max(place for _, place in done)

    def report(self) -> Reply:
        if self.call.step_id != "step":
            if self.call.step_id not in self.found:
                raise Boom("the planned step is gone")
            return self.ops([self.execute(self.found[self.call.step_id][0])])
        found = list(self.found.values())
        alone = len(found) == 1 and not self.call.disable_immediate_execution
        if alone and found[0][0].work is not None:
            return self.ops([self.execute(found[0][0])])
        return self.ops([self.planned(step, racing) for step, racing in found])

    def execute(self, step: Step) -> dict[str, Any]:
        assert step.work is not None
        self.ran.append(step.name)
        try:
            return self.described(step, {**step.op, "data": step.work()})
        except Boom as error:
            self.failure = error
            op = {**step.op, "op": "StepError", "error": error_body(error)}
            return self.described(step, op)

    def planned(self, step: Step, racing: bool) -> dict[str, Any]:
        op = {**step.op, "op": "StepPlanned"} if step.work is not None else step.op
        opts = {**op.get("opts", {}), **({"parallelMode": "race"} if racing else {})}
        return self.described(step, {**op, "opts": opts})

    def described(self, step: Step, op: dict[str, Any]) -> dict[str, Any]:
        return {"name": step.name, **op, "id": step.id, "displayName": step.name}

    def ops(self, ops: list[dict[str, Any]]) -> Ops:
        failure: Boom | None = getattr(self, "failure", None)
        return Ops(
            tuple(ops),
            self.version,
            retriable=failure is None or not failure.final,
            retry_at_ms=failure.at if failure else None,
        )


def named(call: Call, *names: str) -> list[str]:
    """The stack of a call in words."""
    words = {hashed(name): name for name in names}
    return [words.get(step_id, step_id) for step_id in call.stack]


class Stage:
    """An engine at work on a scripted app, and a clock."""

    def __init__(self, app: Scripted, engine: Engine, clock: ManualClock) -> None:
        self.app, self.engine, self.clock = app, engine, clock

    async def send(self, name: str, /, **event: Any) -> Event:
        sent = self.engine.new_event(name=name, **{"data": {}, **event})
        self.engine.ingest([sent])
        await self.engine.idle()
        return sent

    async def advance(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        self.engine.wake()
        await self.engine.idle()

    async def finish(self) -> None:
        """Jump from due time to due time until nothing is left to do."""
        while (due := self.engine.next_due_ms()) is not None:
            await self.advance(max(0, due - self.clock.now_ms()))

    def run(self, slug: str) -> RunRow:
        (found,) = self.engine.runs(slug=slug)
        return found

    def steps(self, slug: str) -> dict[str, Any]:
        return self.engine.run_steps(self.run(slug).run_id)

    def internal(self, name: str) -> list[Event]:
        return self.engine.events(name=f"inngest/function.{name}")


def play(app: Scripted, script: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
    """Run a script against an engine."""

    async def main() -> None:
        clock = ManualClock()
        async with app.engine(clock, **options) as engine:
            app.register(engine)
            await asyncio.wait_for(script(Stage(app, engine, clock)), 20)

    asyncio.run(main())
