"""The functions in service, and which of them an event starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from inngest_serverless.engine import expressions
from inngest_serverless.engine.flow import Flow, flow_of
from inngest_serverless.engine.model import Event, EventTrigger, FunctionConfig

_WILDCARD: Final = re.compile(r"(.*[/.])\*")


class Registry:
    """Functions by id, by slug and by the names of the events that start them."""

    def __init__(self, functions: Iterable[tuple[FunctionConfig, bool]] = ()) -> None:
        self.by_id: dict[str, FunctionConfig] = {}
        """All of them, the archived too: their runs go on."""
        self.flows: dict[str, Flow] = {}
        self._live: dict[str, FunctionConfig] = {}
        self._named: dict[str, list[tuple[FunctionConfig, EventTrigger]]] = {}
        self._wild: list[tuple[str, FunctionConfig, EventTrigger]] = []
        for function, archived in functions:
            self.by_id[function.function_id] = function
            self.flows[function.function_id] = flow_of(function)
            if not archived:
                self._add(function)

    def _add(self, function: FunctionConfig) -> None:
        self._live[function.slug] = function
        for trigger in function.triggers:
            if not isinstance(trigger, EventTrigger):
                continue
            wildcard = _WILDCARD.fullmatch(trigger.event)
            if wildcard is not None:
                self._wild.append((wildcard[1], function, trigger))
            else:
                self._named.setdefault(trigger.event, []).append((function, trigger))

    def live(self) -> list[FunctionConfig]:
        """The functions in service, by slug."""
        return sorted(self._live.values(), key=lambda function: function.slug)

    def find(self, slug_or_id: str) -> FunctionConfig | None:
        """A function in service."""
        function = self._live.get(slug_or_id) or self.by_id.get(slug_or_id)
        return function if function and function.slug in self._live else None

    def slug_of(self, slug_or_id: str) -> str | None:
        """The slug of a function in service."""
        function = self.find(slug_or_id)
        return None if function is None else function.slug

    def started_by(self, event: Event, now_ms: int) -> list[FunctionConfig]:
        """The functions that an event starts, each once however many triggers match."""
        found: dict[str, FunctionConfig] = {}
        for function, trigger in self._candidates(event.name):
            if function.function_id not in found and _matches(trigger, event, now_ms):
                found[function.function_id] = function
        return list(found.values())

    def _candidates(self, name: str) -> Iterator[tuple[FunctionConfig, EventTrigger]]:
        yield from self._named.get(name, ())
        for prefix, function, trigger in self._wild:
            if name.startswith(prefix):
                yield function, trigger


def _matches(trigger: EventTrigger, event: Event, now_ms: int) -> bool:
    if trigger.expression is None:
        return True
    return expressions.matches(trigger.expression, event.to_json(), now_ms)
