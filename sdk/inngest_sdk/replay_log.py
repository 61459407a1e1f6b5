"""Logging that is silent while a function replays what an earlier call has done.

User code runs from its top in every call, so that a line before the third step would be logged
three times. It is logged in the call that gets there first: when no finished step lies ahead of it,
or within a step. (A call that fails and is repeated logs its lines again.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_SPEAKING = frozenset(
    ("debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log", "msg")
)
_BINDING = frozenset(("bind", "new", "unbind", "try_unbind", "getChild"))


class ReplayLogger:
    """A logger of any library that says nothing while its run is replaying.

    What makes another logger of it (`bind` and its kin) makes one that is silent, too; everything
    else is the logger's own.
    """

    def __init__(self, logger: Any, replaying: Callable[[], bool]) -> None:
        self._logger = logger
        self._replaying = replaying

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._logger, name)
        if name in _SPEAKING and self._replaying():
            return _say_nothing
        if name in _BINDING:
            return lambda *args, **kwargs: ReplayLogger(attribute(*args, **kwargs), self._replaying)
        return attribute

    def isEnabledFor(self, level: int) -> bool:
        """Whether a line of this level would be logged now."""
        return not self._replaying() and bool(self._logger.isEnabledFor(level))

    def __repr__(self) -> str:
        return f"ReplayLogger({self._logger!r})"


class ReplayFilter(logging.Filter):
    """Keeps what other loggers of the program say while a function replays out of a handler.

    logging.getLogger().handlers[0].addFilter(ReplayFilter())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be logged."""
        from inngest_sdk.context import current

        context = current()
        return context is None or not context.replaying


def _say_nothing(*_: object, **__: object) -> None:
    pass
