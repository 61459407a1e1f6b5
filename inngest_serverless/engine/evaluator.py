"""The CEL library, behind one small face: compile a source, run it on values.

Python 3.11 and newer have `cel`, which is compiled and loose about types already. Python 3.10 has
only `celpy`, which is neither; its operators are loosened here.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeAlias

Functions: TypeAlias = Mapping[str, Callable[..., Any]]


class Program(Protocol):
    """A compiled expression."""

    def names(self) -> tuple[set[str], set[str]]:
        """The variables and the functions that it mentions."""
        ...

    def run(self, values: Mapping[str, Any], functions: Functions) -> Any:
        """Its value, in plain Python. Raises whatever the library does."""
        ...


class CelProgram:
    """With `cel`."""

    def __init__(self, source: str) -> None:
        self._program = import_module("cel").compile(source)

    def names(self) -> tuple[set[str], set[str]]:
        """The variables and the functions that it mentions."""
        references = self._program.references()
        return set(references["variables"]), set(references["functions"])

    def run(self, values: Mapping[str, Any], functions: Functions) -> Any:
        """Its value."""
        return self._program.execute({**functions, **values})


class CelpyProgram:
    """With `celpy`."""

    def __init__(self, source: str) -> None:
        self._celpy = import_module("celpy")
        self._environment = self._celpy.Environment()
        self._tree = self._environment.compile(source)

    def names(self) -> tuple[set[str], set[str]]:
        """The variables and the functions that it mentions."""
        variables = {str(node.children[0]) for node in self._tree.find_data("ident")}
        functions = {str(node.children[0]) for node in self._tree.find_data("ident_arg")}
        methods = {str(node.children[1]) for node in self._tree.find_data("member_dot_arg")}
        return variables, functions | methods

    def run(self, values: Mapping[str, Any], functions: Functions) -> Any:
        """Its value."""
        given = {name: self._returning(function) for name, function in functions.items()}
        loose = dict(self._loosened())
        program = self._environment.program(self._tree, functions={**loose, **given})
        found = program.evaluate({name: self._cel(value) for name, value in values.items()})
        return json.loads(json.dumps(found, cls=self._celpy.CELJSONEncoder))

    def _cel(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return self._celpy.celtypes.TimestampType(value)
        return self._celpy.json_to_cel(value)

    def _returning(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: self._cel(function(*arguments))

    def _loosened(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Numbers compare with each other; what cannot be equal is unequal."""
        bool_type = self._celpy.celtypes.BoolType
        for name, compare in _COMPARISONS.items():
            yield name, lambda a, b, compare=compare: bool_type(_compare(compare, a, b))


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "_==_": operator.eq,
    "_!=_": operator.ne,
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}


def _compare(compare: Callable[[Any, Any], bool], a: Any, b: Any) -> bool:
    left, right = _plain(a), _plain(b)
    if isinstance(left, bool) != isinstance(right, bool):
        left, right = (type(left), left), (type(right), right)
    return compare(left, right)


def _plain(value: Any) -> Any:
    """A celpy value without its strictness: its types are Python's own, made narrower."""
    if type(value).__name__ == "BoolType":
        return bool(value)
    match value:
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return str(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case _:
            return value


compile: Final[Callable[[str], Program]] = CelProgram if find_spec("cel") else CelpyProgram
"""Compile with the better library that there is. Raises what the library does."""
