"""What a step returned comes back from the server as what its annotation says."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import enum
import functools
import subprocess
import sys
import typing
import uuid
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    TypedDict,
    TypeVar,
)
from zoneinfo import ZoneInfo

import pytest
import typing_extensions as extensions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SecretStr

from inngest_sdk.codec import Codec, codec_for, codec_of
from inngest_sdk.errors import NonRetriableError, OutputUnserializableError
from inngest_sdk.http import dumps
from inngest_serverless.engine import jsontext

if typing.TYPE_CHECKING:
    from fractions import Fraction as OnlyForCheckers

T = TypeVar("T")
BIG = 2**53 + 1


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Rank(enum.IntEnum):
    LOW = 1
    HIGH = BIG


class Place(NamedTuple):
    name: str
    height: float
    digest: bytes = b""


@dataclass
class Item:
    sku: uuid.UUID
    price: Decimal
    digest: bytes = b""


@dataclass(frozen=True)
class Order:
    number: int
    placed: datetime
    items: list[Item] = field(default_factory=list)
    tags: frozenset[str] = frozenset()
    colour: Colour | None = None
    weight: float = 1.0
    parent: Order | None = None


@dataclass(frozen=True)
class Rushed(Order):
    fee: int = 3


@dataclass
class Page(Generic[T]):
    rows: list[T]


class Customer(BaseModel):
    number: int
    born: date
    name: str = Field(alias="fullName")
    address: str = Field("", validation_alias="addr")


class Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="allow", ser_json_bytes="base64", val_json_bytes="base64"
    )

    at: datetime
    digest: bytes


class Loose(BaseModel):
    digest: bytes = b""
    anything: Any = None


class Stamped(TypedDict):
    at: datetime
    note: extensions.NotRequired[str]
    items: list[Item]


class PartlyStamped(Stamped, total=False):
    until: date


class Counted(TypedDict):
    count: int
    name: str


class Unresolvable(TypedDict):
    at: OnlyForCheckers


class Tree(TypedDict):
    count: int
    children: list[Tree]


class TypedTree(extensions.TypedDict):
    count: int
    children: list[TypedTree]


class Schemaless:
    pass


ItemId = NewType("ItemId", uuid.UUID)
Count = NewType("Count", int)
Label = NewType("Label", str)
Measure = NewType("Measure", float)
Alias = extensions.TypeAliasType("Alias", list[date])
Nested = extensions.TypeAliasType("Nested", "dict[str, Nested] | list[Nested] | int")
Row = extensions.TypeAliasType("Row", list[T], type_params=(T,))


def travelled(value: Any) -> Any:
    """A JSON value as the server returns it: numbers pass through doubles."""
    return jsontext.read(jsontext.canonical(jsontext.read(dumps(value))))


def returned(codec: Codec, value: Any) -> Any:
    return codec.decode(travelled(codec.encode(value)))


def refused(codec: Codec, value: Any) -> str:
    with pytest.raises(OutputUnserializableError) as caught:
        codec.encode(value)
    return caught.value.message


NOW = datetime(2026, 11, 22, 15, 40, 33, 123456, timezone.utc)
SKU = uuid.UUID("03506912-c055-40af-a3ce-e00b00dbdd28")
CUSTOMER = Customer.model_validate(
    {"number": 2**100, "born": "2001-02-03", "fullName": "Ann", "addr": "home"}
)
ITEM = Item(SKU, Decimal("12.50"), b"\x00\xff\xfe>?")
ORDER = Order(BIG, NOW, [ITEM], frozenset({"a"}), Colour.RED, 2.0, Order(1, NOW))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, ORDER),
        (list[Order], [ORDER]),
        (Order | None, None),
        (Order | None, ORDER),
        (dict[uuid.UUID, list[Order]], {SKU: [ORDER]}),
        (Page[Item], Page([ITEM])),
        (Customer, CUSTOMER),
        (Strict, Strict.model_validate({"at": NOW, "digest": b"\xff", "more": 1})),
        (list[Strict | None], [None, Strict(at=NOW, digest=b"")]),
        (Stamped, {"at": NOW, "items": [ITEM]}),
        (PartlyStamped | None, {"at": NOW, "items": [], "note": "x", "until": date(2026, 1, 2)}),
        (Counted, {"count": -BIG, "name": "12345678901234567890"}),
        (Place, Place("hill", 3.0, b"\x80")),
        (list[Place | Item], [Place("hill", 3.5), ITEM]),
        (datetime, NOW),
        (datetime, NOW.replace(tzinfo=None)),
        (datetime | str, NOW),
        (datetime | date, date(2026, 1, 2)),
        (date, date(1, 1, 1)),
        (time, time(1, 2, 3, 4)),
        (timedelta, timedelta(days=-3, microseconds=1)),
        (uuid.UUID | int, SKU),
        (Decimal, Decimal("1E+400")),
        (Colour, Colour.BLUE),
        (Rank, Rank.HIGH),
        (bytes, b"\x00\xff"),
        (bytes | None, None),
        (dict[bytes, set[bytes]], {b"\xff": {b"\xfe"}}),
        (tuple[int, Decimal, str], (BIG, Decimal(1), "a")),
        (tuple[int, ...], (1, BIG)),
        (tuple[()], ()),
        (tuple, (1, "a")),
        (set[date], {date(2026, 1, 2)}),
        (frozenset[int], frozenset({1, BIG})),
        (collections.deque[date], collections.deque([date(2026, 1, 2)])),
        (Path, Path("/srv/orders")),
        (Literal[Colour.RED, Colour.BLUE], Colour.RED),
        (list[Literal[Colour.RED, 3]], [Colour.RED, 3]),
        (Literal["a", 1], "a"),
        (Annotated[Order, ["a note that cannot be hashed"]], ORDER),
        (Annotated[int, Field(gt=0)], BIG),
        (Annotated[Decimal, PlainSerializer(str)], Decimal("1.50")),
        (ItemId, ItemId(SKU)),
        (Count, BIG),
        (Alias, [date(2026, 1, 2)]),
        (Row[date], [date(2026, 1, 2)]),
        (Nested, {"a": [{"b": BIG}, 1]}),
        (dict[int, str], {BIG: "a", 2: "b"}),
        (dict[float, bool], {1.5: True}),
        (dict[Colour, int], {Colour.RED: 1}),
        (int, BIG),
        (int, -(10**4000)),
        (int | str, "9007199254740993"),
        (list[int | float], [BIG, 1.5]),
        (dict[str, int], {"a": 1, "b": BIG}),
        (Mapping[str, Sequence[int]], {"a": [BIG]}),
        (float, 1.0),
        (float, 1e20),
        (float, float("-inf")),
        (list[float], [float("inf"), 2.0]),
        (float | None, 3.0),
        (Annotated[float, "metres"], 3.0),
        (Measure, Measure(3.0)),
        (dict[Label, Any], {Label("a"): [None, True, 1.5]}),
        (dict[Annotated[str, "name"], str], {"a": "b"}),
        (dict[Literal["a", "b"], object], {"a": "b"}),
        (None, None),
        (str, "Infinity"),
        (Any, {"a": [1, {"b": None}]}),
        (T, "anything"),
    ],
)
def test_a_value_comes_back_as_its_annotation_says(annotation: Any, value: Any) -> None:
    found = returned(codec_for(annotation), value)

    assert found == value
    assert type(found) is type(value)


def test_whole_floats_stay_floats_beside_other_types() -> None:
    found = returned(codec_for(list[float | bool | uuid.UUID]), [1.0, True, SKU, 1e20, 1e300])

    assert [type(each) for each in found] == [float, bool, uuid.UUID, float, float]


def test_recursive_types_come_back_too() -> None:
    small: Tree = {"count": 1, "children": [{"count": 2, "children": []}]}
    large: TypedTree = {"count": 1, "children": [{"count": BIG, "children": []}]}

    assert returned(codec_for(Tree), small) == small
    assert returned(codec_for(TypedTree), large) == large
    if sys.version_info < (3, 12):
        assert "use `typing_extensions.TypedDict`" in refused(codec_for(Tree), large)


def test_not_a_number_comes_back_as_a_float() -> None:
    assert str(returned(codec_for(float), float("nan"))) == "nan"


def test_a_time_in_the_hour_that_clocks_repeat_comes_back_as_the_same_moment() -> None:
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)

    found = returned(codec_for(datetime), moment)

    assert found.astimezone(timezone.utc) == moment.astimezone(timezone.utc)


@pytest.mark.parametrize(
    ("annotation", "value", "found"),
    [
        (Sequence[date], (date(2026, 1, 2),), [date(2026, 1, 2)]),
        (Iterable[date], (date(2026, 1, 2),), [date(2026, 1, 2)]),
        (dict[str, Iterable[date]], {"a": [date(2026, 1, 2)]}, {"a": [date(2026, 1, 2)]}),
        (tuple[Iterable, date], ([1], date(2026, 1, 2)), ([1], date(2026, 1, 2))),  # type: ignore[type-arg] # a bare one
        (AbstractSet[date], {date(2026, 1, 2)}, {date(2026, 1, 2)}),
        (tuple[AbstractSet, date], ({1}, NOW.date()), ({1}, NOW.date())),  # type: ignore[type-arg] # likewise
        (dict[uuid.UUID, int], collections.OrderedDict({SKU: 1}), {SKU: 1}),
        (Order, Rushed(1, NOW, fee=9), Order(1, NOW)),
        (Order, Order(1, NOW, weight=2), Order(1, NOW, weight=2.0)),
    ],
)
def test_what_the_annotation_leaves_open_comes_back_as_its_plainest_form(
    annotation: Any, value: Any, found: Any
) -> None:
    back = returned(codec_for(annotation), value)

    assert back == found
    assert type(back) is type(found)


# ── every value of a type ────────────────────────────────────────────────────────────────────────

DATETIMES = st.datetimes(timezones=st.none() | st.just(timezone.utc))
FINITE = st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ITEMS = st.builds(Item, st.uuids(), st.decimals(allow_nan=False, allow_infinity=False), st.binary())
ORDERS = st.builds(
    Order,
    number=st.integers(),
    placed=DATETIMES,
    items=st.lists(ITEMS, max_size=2),
    tags=st.frozensets(TEXT),
    colour=st.none() | st.sampled_from(Colour),
    weight=FINITE,
)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (dict[str, int | None], st.dictionaries(TEXT, st.integers() | st.none())),
    (Counted, st.fixed_dictionaries({"count": st.integers(), "name": TEXT})),
    (Order, ORDERS),
    (dict[uuid.UUID, list[Order]], st.dictionaries(st.uuids(), st.lists(ORDERS, max_size=2))),
    (Place, st.builds(Place, TEXT, FINITE, st.binary())),
    (tuple[bytes, ...], st.lists(st.binary()).map(tuple)),
    (set[timedelta], st.sets(st.timedeltas())),
    (tuple[date, time, datetime], st.tuples(st.dates(), st.times(), DATETIMES)),
    (dict[int, Rank | None], st.dictionaries(st.integers(), st.none() | st.sampled_from(Rank))),
    (
        list[uuid.UUID | int | bool | None],
        st.lists(st.uuids() | st.integers() | st.booleans() | st.none()),
    ),
]


@given(st.sampled_from(VALUES).flatmap(lambda each: st.tuples(st.just(each[0]), each[1])))
def test_any_value_survives_the_way_through_doubles(case: tuple[Any, Any]) -> None:
    annotation, value = case

    found = returned(codec_for(annotation), value)

    assert found == value
    assert type(found) is type(value)


PLAIN = st.recursive(
    st.none() | st.booleans() | TEXT | st.integers(-(2**53), 2**53) | FINITE,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(PLAIN)
def test_json_without_an_annotation_is_left_alone(value: Any) -> None:
    codec = codec_for(Any)

    assert codec.encode(value) is value
    assert codec.decode(value) is value


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "None: Input should be an object"),
        ({"number": 1}, "a dict: expected Order, found {'number': 1} (dict)"),
        (ITEM, "an Item: AttributeError: 'Item' object has no attribute 'number'"),
        (Order("1", NOW), "expected int, found '1' (str)"),  # type: ignore[arg-type] # the mistake under test
        (Order(1, None), "field 'placed': Input should be a valid datetime"),  # type: ignore[arg-type] # likewise
        (Order(1, NOW, parent=Order(1, NOW, weight="?")), "found '?' (str)"),  # type: ignore[arg-type] # likewise
    ],
)
def test_a_value_that_is_not_as_annotated_fails_the_step_that_returned_it(
    value: Any, found: str
) -> None:
    def charge() -> Order:
        raise NotImplementedError

    message = refused(codec_of(charge), value)

    assert message.startswith("charge() is annotated -> Order, but returned ")
    assert found in message
    assert message.endswith("Return what the annotation says, or correct the annotation.")


def test_of_many_problems_the_first_are_told() -> None:
    message = refused(codec_for(list[date]), [1, 2, 3, 4, 5])

    assert message.startswith("list[date] is expected, but this is a list: ")
    assert "found 2 (int)" in message
    assert message.count("expected date") == 3
    assert "; and 2 more" in message


@pytest.mark.parametrize(
    ("annotation", "value", "found"),
    [
        (list[int] | tuple[int, ...], (BIG,), "it is a tuple, and comes back as a list"),
        (SecretStr, SecretStr("sesame"), "it comes back as another SecretStr"),
        (Loose, Loose(anything=NOW), "it.anything is a datetime, and comes back as a str"),
        (list[Loose], [Loose(anything=BIG)], "it[0].anything is an int, and comes back as a str"),
        (list[Stamped], [{"at": NOW, "items": [], "z": 1}], "it[0] comes back without 'z'"),
        (datetime, NOW.astimezone(timezone(timedelta(seconds=30))), "another datetime"),
        (Loose, Loose(digest=b"\xff"), "set model_config = ConfigDict(ser_json_bytes='base64'"),
        (dict[tuple[int, int], int], {(1, 2): 3}, "Input should be a valid array"),
        (dict[Literal[1], str], {1: "a"}, "Input should be 1, found '1'"),
        (int | str, BIG, "it is an int, and comes back as a str"),
        (Order, Order(10**5000, NOW), "ValueError"),
        (list[Path], [Path("\udc80")], "surrogates not allowed"),
    ],
)
def test_a_value_that_would_come_back_as_another_is_refused_at_once(
    annotation: Any, value: Any, found: str
) -> None:
    assert found in refused(codec_for(annotation), value)


@pytest.mark.parametrize("value", [2**53, 9007199254740994, 1152921504606847000, -(10**20)])
def test_a_large_integer_that_comes_back_the_same_may_pass_unannotated(value: int) -> None:
    # As canonical JSON writes it (RFC 8785): an event that came from the server can be returned.
    assert codec_for(Any).encode({"id": value}) == {"id": value}


@pytest.mark.parametrize("value", [2**60, 9007199254740993, 10**21, 10**400])
def test_a_large_integer_that_would_be_rounded_is_refused(value: int) -> None:
    assert "the server would round it" in refused(codec_for(Any), value)


@pytest.mark.parametrize(
    "annotation", [Any, object, None, str, dict, dict[str, Any], T, Schemaless], ids=repr
)
@pytest.mark.parametrize("value", [BIG, -BIG, [1, {"a": (BIG,)}]])
def test_a_large_integer_that_is_not_annotated_is_refused(annotation: Any, value: Any) -> None:
    message = refused(codec_for(annotation), value)

    assert str(BIG) in message
    assert "more than 53 bits" in message
    assert "Annotate the return type" in message
    assert "or return text" in message


def test_an_integer_too_long_to_print_is_refused_with_its_length() -> None:
    assert "the integer of 16610 bits" in refused(codec_for(Any), 10**5000)


def test_the_largest_exact_integers_need_no_annotation() -> None:
    assert codec_for(Any).encode([2**53, -(2**53), True]) == [2**53, -(2**53), True]


def test_what_goes_round_in_circles_is_left_to_the_encoder() -> None:
    circle: list[Any] = []
    circle.append(circle)

    assert codec_for(Any).encode(circle) is circle


@pytest.mark.parametrize("annotation", [bytearray, ValueError, Unresolvable, Iterator[date]])
def test_json_passes_where_no_schema_can_be_had(annotation: Any) -> None:
    codec = codec_for(annotation)

    assert codec.decode(codec.encode({"a": [1]})) == {"a": [1]}


def test_what_pydantic_cannot_write_is_refused_with_its_reason() -> None:
    message = refused(codec_for(bytearray), bytearray(b"a"))

    assert "not JSON serializable" in message
    assert "Pydantic cannot write bytearray: Unable to generate pydantic-core schema" in message
    assert "Pydantic cannot write bytearray" in refused(codec_for(bytearray), [BIG])


def test_a_memo_of_older_code_is_refused_with_the_field_and_the_value() -> None:
    def charge() -> Order:
        raise NotImplementedError

    with pytest.raises(NonRetriableError) as caught:
        codec_of(charge).decode({"number": "many", "placed": "2026-11-22T15:40:33Z"})

    assert caught.value.message.startswith("the value on record for charge() -> Order does not fit")
    assert "field 'number': Input should be a valid integer" in caught.value.message
    assert "found 'many'" in caught.value.message
    assert "Was the code changed after the step had run?" in caught.value.message


@pytest.mark.parametrize("json", [None, [], "\ud800", {"number": []}])
def test_no_memo_breaks_the_reader(json: Any) -> None:
    with pytest.raises(NonRetriableError, match="does not fit"):
        codec_for(Order).decode(json)


# ── the annotation of a handler ──────────────────────────────────────────────────────────────────


def plain(number: int) -> Order:
    return Order(number, NOW)


async def plain_async() -> Order:
    return ORDER


def awaitable() -> Awaitable[Order]:
    return plain_async()


def coroutine() -> Coroutine[Any, Any, Order]:
    return plain_async()


def future() -> asyncio.Future[Order]:
    raise NotImplementedError


def with_odd_parameters(a: NowhereToBeFound) -> Order:  # type: ignore[name-defined] # noqa: F821 # pyright: ignore[reportUndefinedVariable] # the mistake under test
    return ORDER


def decorator(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def _from_elsewhere() -> Callable[..., Any]:
    # A decorator of another module, which does not know the names of this one.
    scope: dict[str, Any] = {"wraps": functools.wraps}
    source = "def shout(f):\n    @wraps(f)\n    def inner(): return f()\n    return inner"
    exec(source, scope)
    shout: Callable[..., Any] = scope["shout"]
    return shout


class Shop:
    def order(self) -> Order:
        return ORDER

    @classmethod
    def first(cls) -> Order:
        return ORDER

    @staticmethod
    def last() -> Order:
        return ORDER

    def __call__(self) -> Order:
        return ORDER


HANDLERS: dict[str, Any] = {
    "function": plain,
    "async function": plain_async,
    "awaitable": awaitable,
    "coroutine": coroutine,
    "future": future,
    "odd parameters": with_odd_parameters,
    "partial": functools.partial(plain, 1),
    "partial of a callable object": functools.partial(Shop()),
    "decorated": decorator(plain),
    "decorated twice": decorator(decorator(plain)),
    "partial of decorated": functools.partial(decorator(plain), 1),
    "cached": functools.lru_cache(plain),
    "decorated from elsewhere": _from_elsewhere()(plain),
    "method": Shop().order,
    "class method": Shop.first,
    "static method": Shop.last,
    "callable object": Shop(),
    "class": Order,
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_the_annotation_is_found_however_the_handler_is_wrapped(handler: Any) -> None:
    assert returned(codec_of(handler), ORDER) == ORDER


def unannotated():  # type: ignore[no-untyped-def] # what is tested
    return 1


def unresolvable() -> OnlyForCheckers:
    raise NotImplementedError


class Awkward:
    def __getattr__(self, name: str) -> Any:
        return self


@pytest.mark.parametrize(
    "handler",
    [
        unannotated,
        unresolvable,
        lambda: 1,
        len,
        str,
        print,
        Shop().__init__,  # type: ignore[misc] # any wrapper in C will do
        SimpleNamespace(__annotations__=3, __code__=None),
        Awkward(),
        None,
    ],
)
def test_without_an_annotation_of_use_json_passes_as_it_is(handler: Any) -> None:
    json = {"a": [1, "x"]}

    assert codec_of(handler).encode(json) is json
    assert codec_of(handler).decode(json) is json


def test_a_name_that_only_type_checkers_know_is_told_when_it_is_needed() -> None:
    message = refused(codec_of(unresolvable), ORDER)

    assert message.startswith(
        "unresolvable() is annotated -> OnlyForCheckers, but returned an Order"
    )
    assert "name 'OnlyForCheckers' is not defined" in message
    assert "not under TYPE_CHECKING" in message


def test_a_function_made_anew_for_each_call_keeps_its_codec() -> None:
    def make(number: int) -> Callable[[], Order]:
        def charge() -> Order:
            return Order(number, NOW)

        return charge

    assert codec_of(make(1)) is codec_of(make(2))


def test_a_class_of_the_enclosing_call_is_that_of_this_call() -> None:
    def make() -> Any:
        @dataclass
        class Local:
            at: date

        def charge() -> list[Local]:
            return [Local(date(2026, 1, 2))]

        return charge

    for handler in (make(), make()):
        value = handler()
        assert returned(codec_of(handler), value) == value


def test_a_class_that_is_not_there_yet_is_found_later() -> None:
    def charge() -> Late:
        return Late(date(2026, 1, 2))

    assert codec_of(charge).name == "charge() -> Late"

    @dataclass
    class Late:
        at: date

    assert returned(codec_of(charge), charge()) == charge()


def test_two_functions_alike_in_two_modules_keep_their_own_types() -> None:
    source = "def charge() -> 'Thing': ..."
    codecs = []
    for thing in (Order, Item):
        scope: dict[str, Any] = {"Thing": thing}
        exec(source, scope)
        codecs.append(codec_of(scope["charge"]))

    assert returned(codecs[0], ORDER) == ORDER
    assert returned(codecs[1], ITEM) == ITEM


def test_annotations_that_are_types_already_are_told_apart() -> None:
    scope: dict[str, Any] = {"Order": Order, "Item": Item}
    source = "def make(kind):\n    def charge() -> list[kind]: ...\n    return charge"
    exec(compile(source, "<test>", "exec", dont_inherit=True), scope)
    make = scope["make"]

    assert returned(codec_of(make(Order)), [ORDER]) == [ORDER]
    assert returned(codec_of(make(Item)), [ITEM]) == [ITEM]
    assert codec_of(make(Item)) is codec_of(make(Item))


def test_no_number_of_handlers_fills_the_memory() -> None:
    from inngest_sdk import codec

    for _ in range(codec._MAX_KNOWN + 10):
        scope: dict[str, Any] = {}
        exec("def charge() -> int: ...", scope)
        codec_of(scope["charge"])

    assert len(codec._known) <= codec._MAX_KNOWN


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Order, "Order"),
        (list[Order], "list[Order]"),
        (dict[uuid.UUID, Order | None], "dict[UUID, Order | None]"),
        (int | str, "int | str"),
        (None, "None"),
        (Any, "Any"),
    ],
)
def test_a_codec_is_named_as_the_annotation_is_written(annotation: Any, name: str) -> None:
    codec = codec_for(annotation)

    assert codec.name == name
    assert repr(codec) == f"Codec({codec.name})"


# ── what it costs ────────────────────────────────────────────────────────────────────────────────

LIGHT = """
import sys
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import *
from inngest_sdk.codec import codec_for, codec_of
class Row(TypedDict):
    id: int
    name: str
class Own: pass
T = TypeVar("T")
json = {"a": [1, 1.5, None, True, "x"], "b": "1234", "c": 2**53}
for annotation in [
    None, str, float, bool, int, Any, object, dict, list, dict[str, Any], list[int], List[str],
    Dict[str, float], Mapping[str, Sequence[int]], Iterable[str], Row, list[Row], Optional[int],
    int | str, Literal["a", 1], Annotated[int, "x"], NewType("N", int), T, list[T], Own,
    Awaitable, Callable[[], int], Iterator[int], type[int],
]:
    assert codec_for(annotation).encode(json) is json, annotation
    assert codec_for(annotation).decode(json) is json, annotation
def nothing(): ...
def text() -> str: ...
def missing() -> "Missing": ...
for handler in [nothing, text, missing, len, lambda: 1, Own]:
    assert codec_of(handler).decode(codec_of(handler).encode(json)) is json, handler
"""


def modules_after(code: str) -> set[str]:
    code = f"{code}\nimport sys; print('modules:', *sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.rpartition("modules:")[2].split())


def test_plain_annotations_load_nothing_heavy() -> None:
    loaded = modules_after(LIGHT)

    assert not loaded & {"pydantic", "pydantic_core", "decimal", "uuid", "asyncio"}


def test_a_large_integer_loads_pydantic_where_it_is_annotated() -> None:
    code = "from inngest_sdk.codec import codec_for; codec_for(int).encode(2**60)"

    assert "pydantic" in modules_after(code)


def test_dataclasses_that_compare_by_identity_are_compared_by_their_fields() -> None:
    @dataclasses.dataclass(eq=False)
    class Point:
        x: int

    assert returned(codec_for(Point), Point(3)).x == 3
