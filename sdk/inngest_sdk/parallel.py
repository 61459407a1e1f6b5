"""One call of an async function, where steps may wait for each other in any way asyncio knows.

A step that user code awaits is *parked*: its task waits on a future of ours. A supervisor lets the
loop run until nothing more moves, and then decides with all that is parked in view:

1. A parked step with a memo is released, the one that finished first first, and the loop runs
   again until it is quiet. So `gather`, `TaskGroup`, `as_completed` and races see results in the
   order in which they came to be, on every replay (the server tells it: `ctx.stack`).
2. Otherwise the new steps are known. The targeted one, or the only one, is released to run its
   body in its own task, so that context variables and `asyncio.timeout` around it hold. Two or
   more are reported as planned.
3. Then user code is left by cancelling its tasks; `finally` blocks run, steps in them do not.

The common case costs nothing of this: a step with a memo whose turn it is, awaited by the
function's own task, returns at once.

User code may also wait for things that are no steps (an HTTP call, `asyncio.sleep`). Nothing tells
a loop's wait for a socket from a wait for ever, so the supervisor takes a quiet loop for a standing
one when a step is parked. At worst a call reports less than it could, and the next finds the rest.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from inngest_sdk import wire
from inngest_sdk.asks import Ask
from inngest_sdk.checkpoint import Checkpoints
from inngest_sdk.effects import AsyncDriver, Outcome, Raised
from inngest_sdk.errors import StepElsewhereError
from inngest_sdk.execution import (
    Attempt,
    Execute,
    Execution,
    Fail,
    Found,
    Interrupt,
    Kept,
    Replay,
    Report,
    inside_step,
)
from inngest_sdk.failure import user_error
from inngest_sdk.middleware import await_hooks

QUIET_TURNS = 64  # of a loop that is never idle, for other requests run on it
MISSING_TARGET_SECONDS = 10.0  # how long user code may take to reach the targeted step
LEAVE_SECONDS = 5.0  # how long `finally` blocks may take when a call ends


@dataclass
class Parked:
    """A step that user code waits for. Its future gives True to run the body, False to look at
    the verdict again."""

    found: Found
    future: asyncio.Future[bool]
    given_up: bool = False


class AsyncExecution(Execution):
    """One call of an async function."""

    def __init__(
        self,
        call: wire.Call,
        target: str | None,
        attempt: Attempt,
        drive: AsyncDriver,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        super().__init__(call, target, attempt, checkpoints)
        self.do_something_new: Callable[[], Awaitable[None]] | None = None
        self.on_stray: Callable[[str], None] = lambda name: None
        self._drive = drive
        self._next_place = 0  # in the order of replay
        self._replays: list[tuple[int, int, Parked]] = []  # a heap: who finished first is on top
        self._new: list[Parked] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._has_ended = False  # user code, by itself
        self._broken: Exception | None = None  # an error of ours, in the task of user code
        self._call_ends: bool | None = None  # known when the step that runs here has run

    async def run(self, handler: Callable[[], Coroutine[Any, Any, Any]]) -> Outcome:
        """Run user code to its outcome, on the running loop."""
        return await self._drive(self.conclude(await self._run(handler)))

    async def _run(self, handler: Callable[[], Coroutine[Any, Any, Any]]) -> Outcome:
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._main = asyncio.ensure_future(_without_exit(handler()))
        self._main.add_done_callback(lambda _: self._stirred.set())
        self._tasks.add(self._main)
        try:
            while True:
                await self._settle()
                if self._main.done():
                    return self._ended()
                if self._replays and not self._at_target():
                    heapq.heappop(self._replays)[2].future.set_result(False)
                elif await self._conclude([each.found for each in self._new]):
                    break
        finally:
            swallowed = await self._leave()
            self._let_go()
        if self._broken is not None:
            return Raised(self._broken)
        return self.swallowed(swallowed) if swallowed else self.outcome()

    async def step(self, ask: Ask) -> Any:
        """Reach a step: give its value, raise its error, or wait until the call ends."""
        if asyncio.get_running_loop() is not self._loop:
            raise StepElsewhereError(
                f"step {ask.options.id!r} was called on another thread's event loop: call steps "
                "where the function itself runs, and do the work of the thread inside a step"
            )
        if self.interrupted:
            self._stray(ask.options.id)
            raise asyncio.CancelledError  # of a task, it is no error that anybody has to see
        found = self.find(ask)
        known = isinstance(found.verdict, Replay | Fail)
        if not known and self.do_something_new is not None:
            await self.do_something_new()
        if not (known and self._is_next(found)) and await self._park(found, known):
            kept = await self._run_here(found)
            if kept is not None:
                return kept.value
        if known:
            self._next_place = max(self._next_place, self.rank[found.step.hashed] + 1)
            self.has_read(found)
        match found.verdict:
            case Replay(value):
                return value
            case Fail(error):
                raise error
        await asyncio.Future()  # reported; the call ends while this waits

    def _at_target(self) -> bool:
        """Whether the targeted step is reached. It goes before memos: one of them may be an error
        that ends the function, and the step was promised to the server."""
        return self.target is not None and self.lone([each.found for each in self._new]) is not None

    def _is_next(self, found: Found) -> bool:
        place = self.rank[found.step.hashed]
        first = place <= self._next_place and (not self._replays or place < self._replays[0][0])
        return first and asyncio.current_task() is self._main

    async def _park(self, found: Found, known: bool) -> bool:
        parked = Parked(found, asyncio.get_running_loop().create_future())
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        if known:
            place = self.rank[found.step.hashed]
            heapq.heappush(self._replays, (place, len(self._replays), parked))
        else:
            self._new.append(parked)
        self._stirred.set()
        try:
            return await parked.future
        except asyncio.CancelledError:
            self._forget(parked)
            raise

    def _forget(self, parked: Parked) -> None:
        """User code has given up waiting (a timeout, a lost race): the step is not reached."""
        parked.given_up = True
        self._new = [each for each in self._new if each is not parked]
        self._replays = [each for each in self._replays if each[2] is not parked]
        heapq.heapify(self._replays)
        self._stirred.set()

    async def _settle(self) -> None:
        """Let the loop run until nothing is ready, or for long enough."""
        # Not a documented attribute, but one that asyncio's own loops have had since 3.4. Loops
        # without it (uvloop) take the long way: turns are cheap, and too few are not wrong.
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)
            if self._main.done() or (ready is not None and not ready):
                return

    async def _conclude(self, found: list[Found]) -> bool:
        """Do this call's work if it is known by now; tell whether the call is over."""
        lone = self.lone(found)
        if lone is not None:
            return await self._run_lone(lone)
        if self.target is None and found:
            self.plan(found)
            return True
        if wanted := [each for each in found if isinstance(each.verdict, Report)]:
            self.plan(wanted)
            return True
        self.held = found
        return not await self._wait_for_more(found)

    async def _run_lone(self, lone: Found) -> bool:
        """Have the step run in its own task; whether the call ends with it."""
        parked = next(each for each in self._new if each.found is lone)
        self._new.remove(parked)
        self._call_ends = None
        self._stirred.clear()
        parked.future.set_result(True)
        while self._call_ends is None and not (parked.given_up or self._main.done()):
            await self._stirred.wait()
            self._stirred.clear()
        return self._call_ends or False

    async def _run_here(self, found: Found) -> Kept | None:
        kept: Kept | None = None
        try:
            if await self._drive(self.begin()):
                await self._execute(found)
                kept = await self._drive(self.end())
            else:
                self.plan([found])
        except Exception as error:
            self._broken = error
            raise
        finally:
            self._call_ends = kept is None
            self._stirred.set()
        return kept

    async def _wait_for_more(self, found: list[Found]) -> bool:
        """Wait for user code to reach a step or its end; False if it is known never to."""
        self._stirred.clear()
        if not found:
            await self._stirred.wait()  # user code waits for something of its own
            return True
        if self._stands_at_a_step():
            return False
        try:
            await asyncio.wait_for(self._stirred.wait(), MISSING_TARGET_SECONDS)
        except asyncio.TimeoutError:
            return False
        return True

    def _stands_at_a_step(self) -> bool:
        """Whether the function's own coroutine awaits a parked step, and nothing else."""
        awaited: Any = self._main.get_coro()
        codes = set()
        while (code := getattr(awaited, "cr_code", None)) is not None:
            codes.add(code)
            awaited = awaited.cr_await
        return AsyncExecution._park.__code__ in codes

    async def _execute(self, found: Found) -> None:
        assert isinstance(found.verdict, Execute)
        try:
            with inside_step(found):
                ran = await await_hooks(self.attempt(found, found.verdict.arguments))
        except asyncio.CancelledError as error:
            if not self.interrupted:
                self.fail(found, _cut_off(found, error))
            raise
        except (Interrupt, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(found, user_error(error))
        else:
            self.succeed(found, ran)

    def _let_go(self) -> None:
        """Let the tasks be freed at once: each holds the context of user code, which holds this."""
        self._has_ended = self._main.done() and not self._main.cancelled()
        self._tasks.clear()
        del self._main

    def _stray(self, name: str) -> None:
        if self._has_ended:
            self.on_stray(name)

    def _ended(self) -> Outcome:
        if self._main.cancelled():
            return Raised(RuntimeError("the function raised asyncio.CancelledError"))
        if (error := self._main.exception()) is not None:
            return Raised(user_error(error))
        for parked in self._new:
            self.on_stray(parked.found.step.name)
        return self.returned(self._main.result())

    async def _leave(self) -> str | None:
        """End the tasks of user code; say what it did if it did not let itself be ended."""
        self.interrupted = True
        open_tasks = [task for task in self._tasks if not task.done()]
        for task in open_tasks:
            task.cancel()
        if open_tasks:
            await asyncio.wait(open_tasks, timeout=LEAVE_SECONDS)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()  # retrieved, or asyncio logs it as lost
        if self._main not in open_tasks or self._main.cancelled():
            return None
        if not self._main.done():
            return f"did not stop within {LEAVE_SECONDS:g} seconds"
        return "went on" if self._main.exception() is None else _left_with(self._main)


def _left_with(main: asyncio.Task[Any]) -> str | None:
    # Our interrupt, or the cancellation in other clothes (a group, a step called in `finally`).
    # A timeout of user code may run out while it is being left: nobody's fault.
    error = main.exception()
    if isinstance(error, Exception) and not isinstance(error, asyncio.TimeoutError):
        return f"raised {type(error).__name__}"
    return None


def _cut_off(found: Found, error: BaseException) -> Exception:
    failure = TimeoutError(
        f"step {found.step.name!r} was cancelled while it ran, by asyncio.timeout or by its task"
    )
    failure.__cause__ = error
    return failure


async def _without_exit(handler: Coroutine[Any, Any, Any]) -> Any:
    """A SystemExit in a task would end the whole loop: make it an error of the function."""
    try:
        return await handler
    except SystemExit as error:
        raise user_error(error) from error
