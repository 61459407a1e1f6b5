"""Same types on every replay: a value goes to the server as JSON, and comes back as annotated.

How much an annotation asks for is decided once, by `_need_of`:

    NOTHING   text, booleans, None, Any, lists and dicts of these, classes without a schema,
              nothing annotated: the JSON is the value
    NUMBERS   the same with int or float in it: the JSON is the value, unless a number would not
              survive the way, which is through doubles (wire.md T10)
    TYPES     dataclasses, models, datetimes, UUIDs, Decimals, enums, bytes, tuples, sets...

TYPES, and NUMBERS with an awkward number, are written and read by pydantic, which is imported when
the first such value comes. What it wrote is read back at once and compared, so that a value that
would come back as another one (a `str` for the `datetime` of a `datetime | str`) fails the step
that returned it, and not a replay weeks later.

Integers beyond 53 bits, NaN and infinities travel as text; bytes as base64 (in the alphabet with
`-` and `_`, pydantic's); an instance of a subclass as the class of the annotation. A float deep in
a list or dict of plain values may come back as an equal int. Pydantic models keep to their own
configuration.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import sys
import types
import typing
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from inngest_sdk.errors import MemoMisfitError, OutputUnserializableError
from inngest_sdk.http import dumps

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_EXACT = 2**53  # the largest integer up to which a double tells neighbours apart

_MAX_KNOWN = 4096  # handlers, and types, that are remembered
_MAX_WRAPPERS = 64  # decorators and partials around one handler
_SHOWN = 3  # problems of a value that a message tells
_MAX_TEXT = 80  # characters of a value in a message


class _Need(enum.IntEnum):
    """What an annotation asks for; see the head of this file."""

    NOTHING = 0
    NUMBERS = 1
    TYPES = 2


class Codec:
    """Writes values of one annotation as JSON, and reads them back. `name` is for messages."""

    def __init__(self, annotation: object, owner: str | None = None) -> None:
        annotated = _readable(annotation)
        self.name: str = f"{owner}() -> {annotated}" if owner else annotated
        self._annotation = annotation
        self._obstacle = annotation.obstacle if isinstance(annotation, _Unevaluated) else None
        self._need = _need_of(annotation)
        self._is_float = _is_float(annotation)
        self._but = (
            f"{owner}() is annotated -> {annotated}, but returned"
            if owner
            else f"{annotated} is expected, but this is"
        )

    def __repr__(self) -> str:
        return f"Codec({self.name})"

    def encode(self, value: Any) -> Any:
        """The value in JSON form.

        Raises OutputUnserializableError if it is not what the annotation says, or would not come
        back the same. What needs no pydantic is not looked at, but for integers that the server
        would round.
        """
        if self._need is _Need.TYPES:
            return self._written(value)
        if self._need is _Need.NUMBERS:
            return value if _first(value, _is_awkward) is None else self._written(value)
        if self._obstacle is not None:
            return self._unchecked(value, self._obstacle)
        self._refuse_large(value)
        return value

    def decode(self, json: Any) -> Any:
        """The value that `json`, as the server returned it, was made from.

        Raises MemoMisfitError if it does not fit: the code is not the one that wrote it.
        """
        if self._need is _Need.NOTHING:
            return json
        if self._need is _Need.NUMBERS and _first(json, _is_number_text) is None:
            return float(json) if self._is_float and type(json) is int else json
        form = _form(self._annotation)
        if isinstance(form, str):
            return json
        try:
            return form.read(json)
        except (TypeError, ValueError, RecursionError) as error:
            problem = _problem(error)
            raise MemoMisfitError(
                f"the value on record for {self.name} does not fit: {problem}. Was the "
                "code changed after the step had run? Let the type accept the old value (a new "
                "field needs a default), or give the changed step another id.",
                problem,
            ) from error

    def _written(self, value: Any) -> Any:
        form = _form(self._annotation)
        if isinstance(form, str):
            return self._unchecked(value, form)
        try:
            json = form.write(value)
            back = form.read(json)
            lost = _difference(value, back, form.kinds)
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise self._refusal(value, _problem(error)) from error
        if lost is not None:
            where, how = lost
            raise self._refusal(value, f"it{where} {how}, which a replay would see")
        return json

    def _unchecked(self, value: Any, obstacle: str) -> Any:
        """The value as it is, if that is JSON; else the error says why it could not be written."""
        self._refuse_large(value, obstacle)
        try:
            dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._refusal(value, f"{error}. {obstacle}") from error
        return value

    def _refusal(self, value: object, problem: str) -> OutputUnserializableError:
        return OutputUnserializableError(
            f"{self._but} {_shown_type(value)}: {problem}. Return what the annotation says, or "
            "correct the annotation.",
            problem,
        )

    def _refuse_large(self, value: object, obstacle: str = "") -> None:
        large = _first(value, _is_rounded)
        if large is not None:
            raise OutputUnserializableError(
                f"{self.name} gives the integer {_shown(large)}, which takes more than 53 bits: "
                "the server would round it. Annotate the return type (with int where the integer "
                f"stands), or return text. {obstacle}".rstrip()
            )


def codec_for(annotation: object) -> Codec:
    """The codec of a type, or of anything else that an annotation may be."""
    return _codec(annotation, None)


def _codec(annotation: object, owner: str | None) -> Codec:
    try:
        return _codec_of_hashable(annotation, owner)
    except TypeError:  # an Annotated or Literal that holds a list, for instance
        return Codec(annotation, owner)


_codec_of_hashable = lru_cache(_MAX_KNOWN)(Codec)


# ── the annotation of a handler ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Unevaluated:
    """An annotation that is text, and why it remains so."""

    text: str
    obstacle: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Known:
    """What was found for a piece of code. It is held, so that no other gets its `id`."""

    code: types.CodeType
    annotation: object
    codec: Codec


_known: dict[int, _Known] = {}


def codec_of(handler: Callable[..., object]) -> Codec:
    """The codec of what a handler returns, by its annotation; never raises.

    What decorators wrap is looked through, as are partials, methods and objects that are called; a
    class returns its instances. Under an annotation that cannot be evaluated, JSON passes as it is.
    """
    # By code, not by function: a closure is a new function each time its `def` is reached.
    try:
        function = _innermost(handler)
        if isinstance(function, type):
            return codec_for(function)
        annotation = function.__annotations__.get("return", Any)
        known = _known.get(id(function.__code__))
        if (
            known is not None
            and known.code is function.__code__
            and (known.annotation is annotation or known.annotation == annotation)
        ):
            return known.codec
        return _learned(function, annotation)
    except Exception:  # user code: annotations are evaluated, attributes may be computed
        return codec_for(Any)


def _innermost(handler: Any) -> Any:
    """The function, or class, that says what comes of calling the handler."""
    for _ in range(_MAX_WRAPPERS):
        if isinstance(handler, partial):
            handler = handler.func
        elif (wrapped := getattr(handler, "__wrapped__", None)) is not None:
            handler = wrapped
        else:
            break
    if isinstance(handler, type) or hasattr(handler, "__code__"):
        return handler
    called = type(handler).__call__
    return called if hasattr(called, "__code__") else handler


def _learned(function: Any, annotation: object) -> Codec:
    code = function.__code__
    codec = _codec(_returned(_evaluated(function, annotation)), _owner(function))
    # A name from the enclosing call may mean another class in the next one.
    if not any(name in str(annotation) for name in code.co_freevars):
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[id(code)] = _Known(code, annotation, codec)
    return codec


def _owner(function: Any) -> str:
    return str(function.__qualname__).rpartition("<locals>.")[2]


def _captured(function: Any) -> dict[str, object]:
    """The variables of enclosing functions that the function uses and that are set."""
    found: dict[str, object] = {}
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _evaluated(function: Any, annotation: object) -> object:
    """The annotation without strings in it, unless that needs names that are nowhere."""
    # Not the handler itself: its parameters' annotations are of no interest and may be in the way.
    alone = types.SimpleNamespace(__annotations__={"return": annotation})
    try:
        hints = typing.get_type_hints(
            alone, function.__globals__, _captured(function), include_extras=True
        )
    except Exception as error:  # user code, as a string
        obstacle = (
            f"The annotation cannot be evaluated ({error}): import what it names where the module "
            "runs, not under TYPE_CHECKING"
        )
        return _Unevaluated(str(annotation), obstacle)
    return hints["return"]


def _returned(annotation: Any) -> Any:
    """What is there once it has been awaited, if it is awaitable."""
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, abc.Awaitable):
        return typing.get_args(annotation)[-1]
    return annotation


# ── what an annotation needs ─────────────────────────────────────────────────────────────────────

_NEED_OF_PLAIN = {
    None: _Need.NOTHING,
    type(None): _Need.NOTHING,
    str: _Need.NOTHING,
    bool: _Need.NOTHING,
    object: _Need.NOTHING,
    Any: _Need.NOTHING,  # a class since Python 3.11
    type: _Need.NOTHING,
    int: _Need.NUMBERS,
    float: _Need.NUMBERS,
}
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_READ_ONCE = (abc.Iterable, abc.Collection, abc.Container, abc.Reversible)
_SEQUENCES = (list, abc.Sequence, abc.MutableSequence, *_READ_ONCE)
_SETS = (abc.Set, abc.MutableSet)
# What pydantic would make a generator, or a frozenset only, or nothing at all.
_READ_AS: dict[Any, Any] = {
    **dict.fromkeys(_READ_ONCE, abc.Sequence),
    **dict.fromkeys(_SETS, set),
}
# Around a type, where they say nothing of it.
_QUALIFIERS = {"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"}


def _need_of(annotation: Any, around: tuple[object, ...] = ()) -> _Need:
    """What an annotation needs. `around` are the recursive types it was reached through."""
    if any(annotation is each for each in around):
        return _Need.NOTHING
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        has_schema = any(hasattr(m, "__get_pydantic_core_schema__") for m in args[1:])
        return _Need.TYPES if has_schema else _need_of(args[0], around)
    if origin is typing.Literal:
        return max(_need_of_literal(each) for each in args)
    if _is_union(origin) or getattr(origin, "_name", None) in _QUALIFIERS:
        return _most(args, around)
    if hasattr(annotation, "__supertype__"):  # NewType
        return _need_of(annotation.__supertype__, around)
    if hasattr(annotation, "__value__"):  # `type X = ...`; its parameters, if any, are not in place
        is_whole = not args and not isinstance(annotation.__value__, str)
        return _need_of(annotation.__value__, (*around, annotation)) if is_whole else _Need.TYPES
    return _need_of_class(origin or annotation, args, around)


def _need_of_class(cls: Any, args: tuple[Any, ...], around: tuple[object, ...]) -> _Need:
    if not isinstance(cls, type):  # Any, Never, type variables, names that were not found
        return _Need.NOTHING
    if cls in _MAPPINGS:
        keys_are_text = not args or _is_text(args[0])
        return _most(args, around) if keys_are_text else _Need.TYPES
    if cls in _SEQUENCES:
        return _most(args, around)
    if _is_typed_dict(cls):
        return _need_of_typed_dict(cls, (*around, cls))
    if cls in _NEED_OF_PLAIN:
        return _NEED_OF_PLAIN[cls]
    return _Need.TYPES if _may_have_schema(cls) else _Need.NOTHING


def _need_of_typed_dict(cls: Any, around: tuple[object, ...]) -> _Need:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:  # user code, as strings; pydantic has its say on what is wrong
        return _Need.TYPES
    return _most(tuple(hints.values()), around)


def _most(annotations: tuple[Any, ...], around: tuple[object, ...]) -> _Need:
    return max((_need_of(each, around) for each in annotations), default=_Need.NOTHING)


def _need_of_literal(value: object) -> _Need:
    return _NEED_OF_PLAIN.get(type(value), _Need.TYPES)


def _is_text(key: Any) -> bool:
    """Whether keys of this annotation are the same in a JSON object."""
    if typing.get_origin(key) is typing.Literal:
        return all(type(each) is str for each in typing.get_args(key))
    if typing.get_origin(key) is typing.Annotated:
        return _is_text(typing.get_args(key)[0])
    if hasattr(key, "__supertype__"):
        return _is_text(key.__supertype__)
    return key is str or key is Any or isinstance(key, TypeVar)


def _is_union(origin: object) -> bool:
    return origin is typing.Union or origin is types.UnionType


def _is_float(annotation: Any) -> bool:
    """Whether the value itself is a float, or None."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _is_float(args[0])
    if _is_union(origin):
        return all(each is type(None) or _is_float(each) for each in args)
    if hasattr(annotation, "__supertype__"):
        return _is_float(annotation.__supertype__)
    return annotation is float


def _is_typed_dict(cls: Any) -> bool:
    # typing.is_typeddict does not know those of typing_extensions.
    return isinstance(cls, type) and hasattr(cls, "__total__") and hasattr(cls, "__required_keys__")


def _may_have_schema(cls: type) -> bool:
    """Whether to ask pydantic; it knows classes that say so, and some of the standard library."""
    if cls.__module__ in ("collections.abc", "typing"):
        return cls in _SETS
    return (
        dataclasses.is_dataclass(cls)
        or hasattr(cls, "__get_pydantic_core_schema__")
        or issubclass(cls, (enum.Enum, tuple))
        or cls.__module__.partition(".")[0] in sys.stdlib_module_names
    )


# ── numbers that do not survive a double ─────────────────────────────────────────────────────────

# The text of a number that travels as text; ordinary text may look like it.
_INTEGER = re.compile(r"-?[0-9]{16,}")
_NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


def _first(value: Any, is_meant: Callable[[Any], bool]) -> Any:
    """The first value in a JSON value that is meant, or None. Leaves cycles to `dumps`."""
    try:
        return _search(value, is_meant)
    except RecursionError:
        return None


def _search(value: Any, is_meant: Callable[[Any], bool]) -> Any:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return value if is_meant(value) else None
    for each in value:
        if (found := _search(each, is_meant)) is not None:
            return found
    return None


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and not -MAX_EXACT <= value <= MAX_EXACT


def _is_rounded(value: Any) -> bool:
    """Whether the integer comes back as another one. What has come from a server once, in an event
    say, has the digits that a server writes, and stays what it is."""
    if not _is_large(value):
        return False
    from decimal import Decimal

    return bool(abs(value) >= 10**21 or int(Decimal(repr(float(value)))) != value)


def _is_number_text(value: Any) -> bool:
    if not isinstance(value, str) or (len(value) < 16 and value not in _NOT_FINITE):
        return False
    return value in _NOT_FINITE or _INTEGER.fullmatch(value) is not None


def _is_awkward(value: Any) -> bool:
    # Text that looks like a number is, too: reading must not take it for one unseen.
    if isinstance(value, float):
        return not math.isfinite(value)
    return _is_large(value) or _is_number_text(value)


def _exact(value: Any) -> Any:
    """The JSON value as it will come back: such numbers as text, 1.0 as 1."""
    if isinstance(value, dict):
        return {key: _exact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_exact(each) for each in value]
    if isinstance(value, float):
        return _exact_float(value)
    return str(int(value)) if _is_large(value) else value


def _exact_float(value: float) -> float | int | str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    # Up to there, canonical JSON writes digits without an exponent (RFC 8785).
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


# ── by pydantic ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Form:
    """How pydantic writes and reads a type. `kinds` are the kinds of schema in it."""

    # In a tuple: pydantic takes no configuration from outside for a dataclass by itself.
    adapter: TypeAdapter[tuple[Any]]
    kinds: frozenset[str]

    def write(self, value: Any) -> Any:
        """The value in JSON form; raises ValueError or TypeError if it is not of the type."""
        dump = self.adapter.dump_python
        (json,) = dump((value,), mode="json", by_alias=True, warnings="error")
        return _exact(json)

    def read(self, json: Any) -> Any:
        """The value back; raises ValueError."""
        # As text, since pydantic reads JSON by other rules than Python values: there, text for a
        # datetime is not lax, and bytes are base64.
        text = b"[%b]" % dumps(json)
        (value,) = self.adapter.validate_json(text, by_alias=True, by_name=True)
        return value


def _form(annotation: object) -> _Form | str:
    """How pydantic writes and reads a type, or why it cannot."""
    try:
        return _form_of_hashable(annotation)
    except TypeError:
        return _made_form(annotation)


def _made_form(annotation: object) -> _Form | str:
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
    )
    try:
        alone: Any = types.GenericAlias(tuple, (_for_pydantic(annotation),))
        adapter: TypeAdapter[tuple[Any]] = TypeAdapter(alone, config=config)
        return _Form(adapter, frozenset(_kinds(adapter.core_schema)))
    except Exception as error:  # user code: classes make their own schema, and names may be missing
        reason = str(error).partition("\n")[0].rstrip(".")
        return f"Pydantic cannot write {_readable(annotation)}: {reason}"


_form_of_hashable = lru_cache(_MAX_KNOWN)(_made_form)


def _kinds(schema: Any) -> set[str]:
    """The kinds of schema in our tuple. Recursive types stand beside it, as definitions."""
    around = dict(schema)
    waiting = [
        (around.pop("schema") if around["type"] == "definitions" else around)["items_schema"]
    ]
    waiting.append(around.get("definitions"))
    found: set[str] = set()
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            found.add(str(part.get("type")))
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
    return found


def _for_pydantic(annotation: Any, around: tuple[object, ...] = ()) -> Any:
    """The annotation without what pydantic reads otherwise than it is meant here, or not at all:
    some abstract containers, enums in a Literal, before Python 3.12 the TypedDict of `typing`."""
    if any(annotation is each for each in around):
        return annotation
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if _is_typed_dict(annotation) and type(annotation).__module__ == "typing":
        return _typed_dict(annotation, (*around, annotation))
    if origin is typing.Literal:
        return _literal(annotation, args)
    made = _READ_AS.get(origin) if args else _read_bare_as(annotation)
    kept = args[:1] if origin is typing.Annotated else args
    changed = (*(_for_pydantic(each, around) for each in kept), *args[len(kept) :])
    if changed == args and made is None:
        return annotation
    made = made or (typing.Union if _is_union(origin) else origin)
    return made[changed] if changed else made


def _literal(annotation: Any, args: tuple[Any, ...]) -> Any:
    """The literal with the enums themselves for their members, which pydantic finds by identity."""
    enums = dict.fromkeys(type(each) for each in args if isinstance(each, enum.Enum))
    rest = tuple(each for each in args if not isinstance(each, enum.Enum))
    if not enums:
        return annotation
    parts = (*enums, typing.Literal[rest]) if rest else tuple(enums)
    return typing.Union[parts]  # noqa: UP007 # made at run time


def _read_bare_as(annotation: Any) -> Any:
    return _READ_AS.get(annotation) if isinstance(annotation, type) else None


def _typed_dict(cls: Any, around: tuple[object, ...]) -> Any:
    import typing_extensions as extensions  # pydantic brings it

    fields: dict[str, Any] = {}
    for key, hint in typing.get_type_hints(cls, include_extras=True).items():
        held = _for_pydantic(hint, around)
        if getattr(typing.get_origin(hint), "_name", None) not in _QUALIFIERS:
            is_required = key in cls.__required_keys__
            held = (extensions.Required if is_required else extensions.NotRequired)[held]
        fields[key] = held
    return extensions.TypedDict(cls.__name__, fields)  # type: ignore[operator] # made at run time


# ── the same value? ──────────────────────────────────────────────────────────────────────────────


_ATOMS = {str, int, float, bool, type(None), datetime}  # of these, most values are


def _difference(was: Any, back: Any, kinds: frozenset[str]) -> tuple[str, str] | None:
    """Where a value that has come back is another than it was, and how; None if nowhere."""
    if type(was) is type(back) and type(was) in _ATOMS and was == back:
        return None
    if not _is_of_same_type(was, back, kinds):
        return "", f"is {_shown_type(was)}, and comes back as {_shown_type(back)}"
    parts = _parts(was, back)
    if parts is None:
        return None if _is_equal(was, back) else ("", f"comes back as another {_name_of(was)}")
    ours, theirs = parts
    if ours.keys() != theirs.keys():
        only = next(iter(ours.keys() ^ theirs.keys()))
        return "", f"comes back {'without' if only in ours else 'with a new'} {_shown(only)}"
    for key, each in ours.items():
        if (found := _difference(each, theirs[key], kinds)) is not None:
            cls: type = type(back)
            is_field = _field_names(cls) is not None
            return f".{key}{found[0]}" if is_field else f"[{_shown(key)}]{found[0]}", found[1]
    return None


def _is_of_same_type(was: Any, back: Any, kinds: frozenset[str]) -> bool:
    if isinstance(was, type(back)):  # a subclass travels as the annotated class
        return True
    if isinstance(was, (int, float)) and isinstance(back, (int, float)):
        return not isinstance(back, bool)
    # A tuple for a Sequence comes back as a list; it may not where tuples are named as well.
    is_bare = type(back) in (list, dict, set, frozenset)
    return is_bare and isinstance(was, abc.Collection) and type(was).__name__ not in kinds


def _parts(was: Any, back: Any) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """What two values of one type hold, by name or place; None if they hold nothing."""
    cls: type = type(back)
    names = _field_names(cls)
    if names is not None:
        names = (*names, *(getattr(back, "__pydantic_extra__", None) or ()))
        return {n: getattr(was, n) for n in names}, {n: getattr(back, n) for n in names}
    if isinstance(back, abc.Mapping):
        return dict(was), dict(back)
    if isinstance(back, abc.Sequence) and not isinstance(back, (str, bytes)):
        return dict(enumerate(was)), dict(enumerate(back))
    return None


@lru_cache(_MAX_KNOWN)
def _field_names(cls: type) -> tuple[str, ...] | None:
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    fields = getattr(cls, "__pydantic_fields__", None)
    return None if fields is None else tuple(fields)


def _is_equal(was: Any, back: Any) -> bool:
    if isinstance(was, datetime) and was.tzinfo is not None and back.tzinfo is not None:
        # In the hour that clocks repeat, datetimes of different zones are never equal.
        return bool(was.astimezone(timezone.utc) == back.astimezone(timezone.utc))
    is_compared = getattr(type(was), "__eq__", None) is not object.__eq__
    return bool(was == back or was != was) if is_compared else True


# ── for messages ─────────────────────────────────────────────────────────────────────────────────


def _readable(annotation: object) -> str:
    """The annotation as it is written in code, without the modules of its names."""
    text = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    if typing.get_args(annotation):
        text = str(annotation)
    return re.sub(r"(?:\w+\.|<locals>\.)+(?=\w)", "", text)


def _name_of(value: object) -> str:
    return type(value).__name__


def _shown_type(value: object) -> str:
    name = _name_of(value)
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return f"of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


# What pydantic says of a value that is not as its schema: "[field_name='n', input_value=..."
_UNEXPECTED = re.compile(
    r"Expected `(.+?)` - .*?\[(?:field_name='(\w+)', )?input_value=(.*), input_type=(\w+)\]"
)


def _problem(error: Exception) -> str:
    """What is wrong with a value, in a line: where, what was expected, what is there."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        found = [_validation_problem(each) for each in error.errors(include_url=False)]
    elif unexpected := _UNEXPECTED.findall(str(error)):
        found = [
            f"{f'field {name!r}: ' if name else ''}expected {expected}, found {_cut(text)} ({kind})"
            for expected, name, text, kind in unexpected
        ]
    elif isinstance(error, UnicodeDecodeError):
        found = [
            f"{error}. A pydantic model writes bytes as UTF-8 unless it is told otherwise; set "
            "model_config = ConfigDict(ser_json_bytes='base64', val_json_bytes='base64') in it"
        ]
    else:
        found = [f"{type(error).__name__}: {error}"]
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _validation_problem(details: Any) -> str:
    place = ".".join(map(str, details["loc"][1:]))  # the first is the place in our tuple
    problem = f"{details['msg']}, found {_shown(details['input'])}"
    return f"field {place!r}: {problem}" if place else problem


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."
