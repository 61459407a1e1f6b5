"""What stands in a function's code: texts that may be ids of steps, and the names that it uses.

The server knows a step by the hash of its id (wire.md A8). A hash gets its name back when some
text in the code, with ":n" for repeats, has it. Nothing is called or imported here, and of values
only the types are asked: a proxy that raises when it is touched must not break a call.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from inngest_sdk.function import Function
from inngest_sdk.steps import hash_id

MAX_FUNCTIONS = 500  # that are looked through
MAX_HASHES = 20_000  # that are tried at once; some 20 ms
MAX_ITEMS = 1_000  # of a list that is looked into; longer ones are data
MAX_REPEATS = 1_000  # as many as a run has steps (wire.md T12)


@dataclass(frozen=True)
class Source:
    """`names` are those that a function and what it calls use, `texts` stand in their code, and
    `nearby` in the rest of the function's module."""

    texts: frozenset[str]
    nearby: frozenset[str]
    names: frozenset[str]


def source_of(handler: Callable[..., Any]) -> Source:
    """Look through a function and what it calls, as far as that is its neighbour: in the same
    package, or in a file beside it."""
    functions = list(_called(handler))
    names = {name for each in functions for code in _codes(each) for name in code.co_names}
    around = [each for function in functions[:1] for each in _module_of(function)]
    texts = frozenset(text for each in functions for text in _texts(each))
    nearby = frozenset(text for each in around for text in _texts(each))
    return Source(texts, nearby - texts, frozenset(names))


def ids_of(hashes: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """The ids, with ":n" for repeats, of those hashes that come from one of the texts."""
    wanted, candidates = set(hashes), sorted(texts)[:MAX_HASHES]
    repeats = min(MAX_REPEATS, max(1, MAX_HASHES // max(1, len(candidates))))
    found: dict[str, str] = {}
    for index in range(repeats):
        for text in candidates:
            written = f"{text}:{index}" if index else text
            if (hashed := hash_id(written)) in wanted:
                found.setdefault(hashed, written)
        if len(found) == len(wanted):
            break
    return found


def _called(handler: object) -> Iterator[FunctionType]:
    waiting = [each for each in [_plain(handler)] if each is not None]
    seen: set[CodeType] = set()
    while waiting and len(seen) < MAX_FUNCTIONS:
        function = waiting.pop(0)
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        yield function
        enclosed = filter(None, map(_plain, _enclosed(function)))
        mentioned = filter(None, map(_plain, _mentioned(function)))
        waiting += [*enclosed, *(each for each in mentioned if _are_neighbours(function, each))]


def _enclosed(function: FunctionType) -> Iterator[object]:
    """The values of the variables that it closes over: a decorator's function is one."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _mentioned(function: FunctionType) -> Iterator[object]:
    """The globals that it names, and what it names of modules and classes among them."""
    names = [name for code in _codes(function) for name in code.co_names]
    for name in names:
        value = function.__globals__.get(name)
        yield value
        if type(value) is ModuleType or issubclass(type(value), type):
            yield from (vars(value).get(inner) for inner in names)


def _module_of(function: FunctionType) -> Iterator[FunctionType]:
    """The functions and methods of its module."""
    for value in list(function.__globals__.values()):
        is_class = issubclass(type(value), type)
        for each in map(_plain, list(vars(value).values()) if is_class else [value]):
            if each is not None and each.__globals__ is function.__globals__:
                yield each


def _texts(function: FunctionType) -> Iterator[str]:
    constants = (constant for code in _codes(function) for constant in code.co_consts)
    for value in (*constants, *_enclosed(function), *_mentioned(function)):
        yield from _texts_in(value)


def _texts_in(value: Any, depth: int = 3) -> Iterator[str]:
    """The text that it is, or those in a list, a dict and the like: `for name in ("a", "b")`."""
    kind = type(value)
    if kind is str:
        yield value
    elif depth and kind in (tuple, list, set, frozenset, dict) and len(value) <= MAX_ITEMS:
        items = (*value, *value.values()) if kind is dict else tuple(value)
        for item in items:
            yield from _texts_in(item, depth - 1)


def _codes(function: FunctionType) -> Iterator[CodeType]:
    """Its code, and that of the functions inside it."""
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]


def _plain(value: Any) -> FunctionType | None:
    """The function in a method, a partial, or a durable function."""
    while True:
        kind = type(value)
        if kind is FunctionType:
            function: FunctionType = value
            return function
        if kind is partial:
            value = value.func
        elif kind in (MethodType, staticmethod, classmethod):
            value = value.__func__
        elif kind is Function:
            value = value.handler
        else:
            return None


def _are_neighbours(one: FunctionType, other: FunctionType) -> bool:
    return bool(_homes(one) & _homes(other))


def _homes(function: FunctionType) -> set[tuple[str, str]]:
    file = str(function.__globals__.get("__file__", ""))
    homes = {("directory", os.path.dirname(file))} if file else set()
    return {*homes, ("package", str(function.__globals__.get("__name__")).partition(".")[0])}
