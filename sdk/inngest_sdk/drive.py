"""Performs the effects of a flow: with `transport`, the only place that knows sync from async."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from inngest_sdk import transport
from inngest_sdk.effects import (
    Effect,
    Fetch,
    Flow,
    Invocation,
    Invoke,
    Now,
    Outcome,
    Pause,
    Reveal,
)
from inngest_sdk.errors import SecretUnavailableError, StepTimeoutError, UnreachableError
from inngest_sdk.keys import keyring

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


def drive(flow: Flow[T]) -> T:
    """Run a flow to its result, blocking. Async user functions run on this thread's one loop."""
    try:
        effect = next(flow)
        while True:
            try:
                answer = _perform(effect)
            except (SecretUnavailableError, UnreachableError) as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def drive_async(flow: Flow[T]) -> T:
    """Run a flow to its result on the running loop. Sync user functions run in a thread."""
    try:
        effect = next(flow)
        while True:
            try:
                answer = await _perform_async(effect)
            except (SecretUnavailableError, UnreachableError) as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _perform(effect: Effect) -> Any:
    match effect:
        case Fetch(request, timeout):
            return transport.send(request, timeout)
        case Pause(seconds):
            transport.sleep(seconds)
        case Now():
            return transport.now()
        case Reveal(reference, again):
            return keyring.reveal(reference, transport.now(), again)
        case Invoke(invocation):
            return _on_loop(invocation) if invocation.is_async else invocation.run(drive)


async def _perform_async(effect: Effect) -> Any:
    import asyncio

    match effect:
        case Fetch(request, timeout):
            return await transport.send_async(request, timeout)
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Now():
            return transport.now()
        case Reveal(reference, again):
            at = transport.now()
            if keyring.settled(reference, at) and not again:
                return keyring.reveal(reference, at)
            return await asyncio.to_thread(keyring.reveal, reference, at, again)
        case Invoke(invocation):
            if invocation.is_async:
                return await invocation.run_async(drive_async)
            return await asyncio.to_thread(invocation.run, drive)


def within(call: Callable[[], T], is_async: bool, seconds: float) -> T:
    """Call, for at most so long: in a thread, which is left to end by itself when it does not.

    Raises StepTimeoutError.
    """
    import contextvars
    from concurrent.futures import Future

    ended: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            ended.set_result(context.run(call))
        except BaseException as error:
            ended.set_exception(error)

    thread = threading.Thread(target=run, name="inngest-step", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise _too_slow(seconds)
    return ended.result()


async def within_async(call: Callable[[], Any], is_async: bool, seconds: float) -> Any:
    """Call, for at most so long: what is async is cancelled then, what is not runs in a thread.

    Raises StepTimeoutError.
    """
    import asyncio

    was_cut_off = False

    async def body() -> Any:
        nonlocal was_cut_off
        try:
            value = call() if is_async else await asyncio.to_thread(call)
            return await value if hasattr(value, "__await__") else value
        except asyncio.CancelledError:
            was_cut_off = True
            raise

    try:
        return await asyncio.wait_for(body(), seconds)
    except asyncio.TimeoutError:
        if not was_cut_off:
            raise  # the callable's own
        raise _too_slow(seconds) from None


def _too_slow(seconds: float) -> StepTimeoutError:
    return StepTimeoutError(f"it took longer than the {seconds:g} seconds that its options allow")


class _Loop:
    """The event loop of one thread. It stays between calls: pools of connections that user code
    keeps are bound to it. It is closed when its thread, or the process, ends."""

    def __init__(self) -> None:
        import asyncio

        self.loop = asyncio.new_event_loop()
        weakref.finalize(self, _close, self.loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    if loop.is_closed():
        return
    if not _loop_is_running():
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


_threads = threading.local()
_disowned: list[object] = []  # kept, as to be collected is to be closed


def disown() -> None:
    """Leave the event loops to the process that this one was forked from: both would share what
    they wait with."""
    global _threads
    _disowned.append(_threads)
    _threads = threading.local()


def _on_loop(invocation: Invocation) -> Outcome:
    if _loop_is_running():
        raise RuntimeError(
            "a blocking entrypoint was called on a thread whose event loop is running; call it "
            "through asyncio.to_thread, or use the ASGI entrypoint"
        )
    # Not inside an `except`: what is handled there would stand as the cause of user code's errors.
    return _loop().run_until_complete(invocation.run_async(drive_async))


def _loop_is_running() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _loop() -> asyncio.AbstractEventLoop:
    kept: _Loop | None = getattr(_threads, "kept", None)
    if kept is None or kept.loop.is_closed():
        kept = _threads.kept = _Loop()
    return kept.loop
