"""Exceptions as the protocol writes them, and back (wire.md A7, A9)."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from inngest_sdk.errors import (
    ConfigError,
    FunctionConfigInvalidError,
    NonRetriableError,
    ProtocolError,
    RetryAfterError,
    StepError,
)

_OURS = os.path.dirname(os.path.abspath(__file__))
_MAX_EXCERPT = 500
_MAX_CAUSES = 5
_MAX_TEXT = 65_536  # characters of a message, and of a stack: errors are for people to read
_FINAL = (NonRetriableError, StepError, FunctionConfigInvalidError, ConfigError)


def error_json(error: BaseException, depth: int = 0) -> dict[str, Any]:
    """name, message, stack, and the chain of causes."""
    body: dict[str, Any] = {
        "name": error.name if isinstance(error, StepError) else type(error).__name__,
        "message": _text(_message(error), keep_end=False),
        "stack": _text(_stack(error), keep_end=True),
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < _MAX_CAUSES:
        body["cause"] = error_json(cause, depth + 1)
    return body


def error_from(body: object) -> StepError:
    """The StepError that user code sees for a memoized failure; tolerates any shape."""
    if not isinstance(body, Mapping):
        return StepError(str(body))
    name = body.get("name")
    stack = body.get("stack")
    data = body.get("data")
    said = "" if data is None else f"{data!r:.{_MAX_EXCERPT}}"
    message = str(body.get("message") or body.get("error") or "")
    error = StepError(
        f"{message} (the answer: {said})" if message and said else message or said,
        name if isinstance(name, str) and name else "Error",
        stack if isinstance(stack, str) else None,
        data,
    )
    if body.get("cause") is not None:
        error.__cause__ = error_from(body["cause"])
    return error


def user_error(error: BaseException) -> Exception:
    """What user code raised, as an error of the function or step. Other exceptions than those
    derived from Exception would end the process, or the loop, that it runs in."""
    if isinstance(error, Exception):
        return error
    failure: Exception
    if isinstance(error, SystemExit):
        failure = NonRetriableError(f"user code called sys.exit({error.code!r})")
    else:
        failure = RuntimeError(f"user code raised {type(error).__name__}: {_message(error)}")
    failure.__cause__ = error
    return failure


def is_retriable(error: BaseException) -> bool:
    """Whether trying again may help.

    A StepError that nobody caught is final: the step has used up attempts of its own. A group is
    final when all its members are.
    """
    if isinstance(error, ProtocolError):
        return error.retriable
    members = getattr(error, "exceptions", None)  # an ExceptionGroup, on Python 3.11 and later
    if isinstance(members, tuple) and members:
        return any(is_retriable(member) for member in members)
    return not isinstance(error, _FINAL)


def retry_after(error: BaseException) -> str | None:
    """The value of the retry-after header: whole seconds, rounded up, or an RFC 3339 date."""
    if not isinstance(error, RetryAfterError):
        return None
    after = error.retry_after
    if isinstance(after, datetime.datetime):
        return rfc3339(after)
    milliseconds = (
        after / datetime.timedelta(milliseconds=1) if not isinstance(after, int) else after
    )
    return whole(milliseconds / 1000)


def whole(seconds: float) -> str:
    """Seconds as the retry-after header takes them: none too early."""
    return str(max(0, math.ceil(seconds)))


def rfc3339(moment: datetime.datetime) -> str:
    """The moment in UTC with milliseconds; a naive one is taken for UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    text = aware.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a __str__ of user code
        return f"(the message of this {type(error).__name__} cannot be shown)"


def _text(text: str, *, keep_end: bool) -> str:
    """The text in UTF-8, and cut if it is very long: a traceback says most at its end."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= _MAX_TEXT:
        return text
    return f"...{text[-_MAX_TEXT:]}" if keep_end else f"{text[:_MAX_TEXT]}..."


def _stack(error: BaseException) -> str:
    if isinstance(error, StepError) and error.stack is not None:
        return error.stack
    import traceback  # heavy, and only failures need it

    frames = _user_frames(error.__traceback__)
    try:
        return "".join(traceback.format_exception(type(error), error, frames, chain=False))
    except Exception:  # a __str__ or __repr__ of user code
        return "".join(traceback.format_tb(frames))


def _user_frames(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not ours: what the user can mend."""
    frame = tb
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_OURS):
        frame = frame.tb_next
    return frame or tb
