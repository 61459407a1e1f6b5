"""Typed events: sent, started by, waited for, and what becomes of those that do not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypedDict

import pydantic
import pytest

from inngest_sdk.errors import FunctionConfigInvalidError, NonRetriableError, SendEventsError
from inngest_sdk.event_types import EventType, event_type
from inngest_sdk.events import Event
from inngest_serverless import (
    Batch,
    Context,
    ContextSync,
    MiddlewareSync,
    TriggerCron,
    TriggerEvent,
)
from tests.sdk.play import Mode, Played, app, both, define
from tests.sdk.test_client import event_server
from tests.test_import_cost import loaded_by

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


class Line(pydantic.BaseModel):
    sku: str
    count: int = pydantic.Field(gt=0)


class Order(pydantic.BaseModel):
    n: int
    at: datetime = NOON
    lines: list[Line] = []


@dataclass
class Parcel:
    n: int
    at: datetime


class Mail(TypedDict):
    to: str


class Visit(TypedDict):
    at: datetime


class Opaque:
    pass


Placed = event_type("a/b", Order)
Packed = event_type("shop/parcel.packed", Parcel)
Mailed = event_type("shop/mail.sent", Mail)
MODES = pytest.mark.parametrize("mode", ["sync", "async"])


def arrival(name: str = "a/b", **data: Any) -> dict[str, Any]:
    event = {"name": name, "data": data, "id": "e1"}
    return {"event": event, "events": [event]}


def seen(mode: Mode, trigger: Any, event: Mapping[str, Any], **options: Any) -> Any:
    """What a function with this trigger is given as data."""
    data: list[Any] = []

    def body(ctx: Any) -> Any:
        data.append(ctx.event.data)
        yield from ()

    answer = define(both(mode, body), trigger=trigger, **options).call(**event)
    assert answer.status == 200, answer
    return data[0]


# ── what starts a function ───────────────────────────────────────────────────────────────────────


@MODES
@pytest.mark.parametrize(
    ("trigger", "sent", "given"),
    [
        (Placed, {"n": 1}, Order(n=1)),
        (Placed.when("event.data.n > 0"), {"n": 1, "at": "2026-11-22T12:00:00Z"}, Order(n=1)),
        (event_type("a/b", Parcel), {"n": 1, "at": NOON.isoformat()}, Parcel(1, NOON)),
        (event_type("a/b", Mail), {"to": "me"}, {"to": "me"}),
        (event_type("a/b", Visit), {"at": NOON.isoformat()}, {"at": NOON}),
        (event_type("a/b", dict[str, datetime]), {"x": NOON.isoformat()}, {"x": NOON}),
        (event_type("a/b"), {"n": 1}, {"n": 1}),
        (event_type("a/*", Order), {"n": 1}, Order(n=1)),
        (TriggerEvent(event="a/b"), {"n": 1}, {"n": 1}),
        ([event_type("a/*", Mail), Placed], {"n": 1}, Order(n=1)),
        ([event_type("a*", Mail), TriggerEvent(event="a/b")], {"n": 1}, {"n": 1}),
        ([event_type("a/*", Mail), event_type("a/*", Order)], {"n": 1}, Order(n=1)),
    ],
)
def test_the_data_is_of_the_type_of_the_trigger(
    mode: Mode, trigger: Any, sent: Mapping[str, Any], given: object
) -> None:
    data = seen(mode, trigger, arrival(**sent))

    assert (type(data), data) == (type(given), given)


@pytest.mark.parametrize(
    ("event", "given"),
    [
        (arrival("a/b", n=1), Order(n=1)),
        (arrival("shop/parcel.packed", n=1, at=NOON.isoformat()), Parcel(1, NOON)),
        (arrival("inngest/scheduled.timer", cron="* * * * *"), {"cron": "* * * * *"}),
        (arrival("shop/untyped", n="x"), {"n": "x"}),
        (arrival("inngest/function.invoked", n=1, _inngest={}), Order(n=1)),
        (arrival("inngest/function.invoked", n=1, at=NOON.isoformat()), Order(n=1)),
        (arrival("inngest/function.invoked", x=1), {"x": 1}),
    ],
)
def test_the_name_of_the_event_says_which_of_several_types_it_is(
    event: Mapping[str, Any], given: object
) -> None:
    triggers = [Placed, Packed, TriggerEvent(event="shop/untyped"), TriggerCron(cron="* * * * *")]

    assert seen("async", triggers, event) == given


def test_the_server_s_own_key_is_no_field_of_a_strict_model() -> None:
    class Strict(pydantic.BaseModel, extra="forbid"):
        n: int

    event = arrival("inngest/function.invoked", n=1, _inngest={"fn_id": "shop-f"})

    assert seen("sync", event_type("a/b", Strict), event) == Strict(n=1)


@pytest.mark.parametrize("trigger", [Placed, [event_type("a/*", Mail), event_type("a/*", Order)]])
def test_a_batch_has_each_event_read(trigger: Any) -> None:
    def f(ctx: ContextSync[Any]) -> list[int]:
        assert ctx.event.data == ctx.events[0].data
        return [event.data.n for event in ctx.events]

    played = define(f, trigger=trigger, batch_events=Batch(max_size=10))
    events = [{"name": "a/b", "data": {"n": n}} for n in (1, 2)]
    answer = played.call(event=events[0], events=events)

    assert json.loads(answer.body) == [1, 2]


def test_middleware_sees_the_data_before_it_is_read() -> None:
    class Unwrap(MiddlewareSync):
        def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
            ctx.event.data = ctx.event.data["wrapped"]

    event = arrival(wrapped={"n": 7})

    assert seen("sync", Placed, event, middleware=[Unwrap]) == Order(n=7)


@MODES
def test_an_event_that_does_not_fit_fails_the_run_before_the_function_is_called(
    mode: Mode,
) -> None:
    def body(ctx: Any) -> Any:
        raise AssertionError("called")
        yield

    lines = [{"sku": "x" * 200, "count": 0}, {"count": "many"}]
    answer = define(both(mode, body), trigger=Placed).call(**arrival(n="one", lines=lines))
    error = json.loads(answer.body)

    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    assert error["name"] == "EventInvalidError"
    assert error["message"] == (
        "event 'a/b' (e1) does not fit Order: field 'n': Input should be a valid integer, unable "
        "to parse string as an integer, found 'one'; field 'lines.0.count': Input should be "
        "greater than 0, found 0; field 'lines.1.sku': Field required, found {'count': 'many'}; "
        "and 1 more. Send what the type says, or let the type accept what comes (a new field "
        "needs a default)."
    )


def test_middleware_is_told_of_an_event_that_does_not_fit() -> None:
    told: list[tuple[str, bool]] = []

    class Watch(MiddlewareSync):
        def on_run_error(self, error: Exception, is_final: bool) -> None:
            told.append((type(error).__name__, is_final))

    define(lambda ctx: None, trigger=Placed, middleware=[Watch]).call(**arrival())

    assert told == [("EventInvalidError", True)]


def test_long_values_are_shortened() -> None:
    answer = define(lambda ctx: None, trigger=Placed).call(**arrival(n="9x" * 5000))

    assert len(json.loads(answer.body)["message"]) < 400


@pytest.mark.parametrize("name", ["inngest/function.failed", "inngest/function.invoked"])
def test_a_failure_handler_gets_the_plain_failure(name: str) -> None:
    def failed(ctx: ContextSync) -> object:
        return ctx.event.data["event"]

    played = define(lambda ctx: None, trigger=event_type("*", Order), on_failure=failed)
    [handler] = [
        each for each in played.function.configs("http://app/x") if "failure" in each["id"]
    ]
    assert played.client.handler_for(handler["id"]) is not None
    event = arrival(name, event={"data": {"n": "bad"}})
    failing = Played(played.client, _Named(handler["id"]))  # type: ignore[arg-type] # an id will do

    assert json.loads(failing.call(**event).body) == {"data": {"n": "bad"}}


@dataclass
class _Named:
    id: str


# ── steps ────────────────────────────────────────────────────────────────────────────────────────


@MODES
def test_a_wait_for_a_type_gives_its_data(mode: Mode) -> None:
    got: list[Any] = []

    def body(ctx: Any) -> Any:
        got.append((yield ctx.step.wait_for_event("typed", event=Packed, timeout="1h")))
        got.append((yield ctx.step.wait_for_event("late", event=Packed, timeout="1h")))
        got.append((yield ctx.step.wait_for_event("plain", event=Packed.name, timeout="1h")))

    packed = {"name": "shop/parcel.packed", "data": {"n": 1, "at": NOON.isoformat()}}
    played = define(both(mode, body))
    played.finish({"typed": packed, "plain": packed})

    typed, late, plain = got[-3:]
    assert (typed.data, late, plain.data) == (Parcel(1, NOON), None, packed["data"])
    assert json.loads(played.answers[0].body)[0]["opts"]["event"] == "shop/parcel.packed"


@MODES
def test_an_event_waited_for_that_does_not_fit_fails_the_run(mode: Mode) -> None:
    def body(ctx: Any) -> Any:
        yield ctx.step.wait_for_event("x", event=Packed, timeout="1h")

    played = define(both(mode, body))
    [op] = played.ops()
    played.memo(op, {"name": "shop/parcel.packed", "data": {"n": 1}})
    answer = played.call()

    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "event 'shop/parcel.packed' does not fit Parcel: field 'at'" in answer.body.decode()


@MODES
@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (Order(n=1), {"n": 1, "at": "2026-11-22T12:00:00Z", "lines": []}),
        (Parcel(1, NOON), {"n": 1, "at": "2026-11-22T12:00:00Z"}),
        ({"n": 1}, {"n": 1}),
        (None, {}),
    ],
)
def test_a_function_is_invoked_with_a_model_or_a_dataclass(
    mode: Mode, data: Any, sent: Mapping[str, Any]
) -> None:
    client = app()
    called = define(lambda ctx: None, client, fn_id="called", trigger=Placed).function

    def body(ctx: Any) -> Any:
        yield ctx.step.invoke("x", function=called, data=data)

    [op] = define(both(mode, body), client).ops()

    assert op["opts"]["payload"]["data"] == sent


def test_a_call_by_id_takes_a_model_too() -> None:
    def f(ctx: ContextSync) -> object:
        return ctx.step.invoke_by_id("x", function_id="other", data=Order(n=1))

    [op] = define(f).ops()

    assert op["opts"]["payload"]["data"]["n"] == 1


def test_data_for_a_call_has_to_be_an_object() -> None:
    def f(ctx: ContextSync) -> object:
        return ctx.step.invoke_by_id("x", function_id="other", data=[1])  # type: ignore[arg-type] # so said

    answer = define(f).call()

    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "the data for function 'shop-other' is [1], of type list" in answer.body.decode()


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


def test_an_event_of_a_type_is_sent_as_json() -> None:
    sent = Packed(Parcel(1, NOON), id="p1", ts=5, v="2")
    assert sent == Event(name="shop/parcel.packed", data=Parcel(1, NOON), id="p1", ts=5, v="2")

    with event_server() as server:
        app(event_api_base_url=server.url).send_sync(
            [sent, Event(name="c", data=Order(n=1)), Event(name="d", data={"n": 1})]
        )

    [(_, [typed, untyped, plain])] = server.received
    assert plain["data"] == {"n": 1}
    assert typed == {**sent.to_json(), "data": {"n": 1, "at": "2026-11-22T12:00:00Z"}}
    assert untyped["data"] == {"n": 1, "at": "2026-11-22T12:00:00Z", "lines": []}


@MODES
def test_an_event_of_a_type_is_sent_in_a_step(mode: Mode) -> None:
    def body(ctx: Any) -> Any:
        yield ctx.step.send_event("x", Placed(Order(n=1)))

    with event_server() as server:
        [op] = define(both(mode, body), app(event_api_base_url=server.url)).ops()

    assert op["op"] == "StepRun"
    [(_, [event])] = server.received
    assert event["data"] == {"n": 1, "at": "2026-11-22T12:00:00Z", "lines": []}


def test_an_event_that_arrived_may_be_sent_on() -> None:
    def f(ctx: ContextSync[Visit]) -> None:
        ctx.step.send_event("x", ctx.event)

    with event_server() as server:
        played = define(f, app(event_api_base_url=server.url), trigger=event_type("a/b", Visit))
        played.ops(**arrival(at="2026-11-22T12:00:00Z"))

    assert server.received[0][1][0]["data"] == {"at": "2026-11-22T12:00:00Z"}


def test_middleware_sees_the_data_as_it_is_sent() -> None:
    class Wrap(MiddlewareSync):
        def before_send_events(self, events: list[Event]) -> None:
            assert events[0].encode is None  # it is JSON, and stays so if it is sent again
            events[0].data = {"wrapped": events[0].data["n"]}

    mine = Placed(Order(n=1))
    with event_server() as server:
        app(event_api_base_url=server.url, middleware=[Wrap]).send_sync(mine)

    assert server.received[0][1][0]["data"] == {"wrapped": 1}
    assert mine.data == Order(n=1)


@pytest.mark.parametrize(
    ("kind", "data", "problem"),
    [
        (Placed, {"n": 1}, "cannot be sent as Order: expected Order, found {'n': 1} (dict)"),
        (Packed, Parcel("1", NOON), "as Parcel: field 'n': expected int, found '1' (str)"),  # type: ignore[arg-type] # so said
        (Mailed, {}, "as Mail: field 'to': Field required, found {}"),
        (Mailed, {"to": 5}, "as Mail: field 'to': expected str, found 5 (int)"),
        (Mailed, {"to": "me", "cc": ""}, "cannot be sent as Mail: it comes back without 'cc'"),
        (event_type("a/b", dict[str, Any]), {"x": NOON}, "it['x'] is a datetime, and comes back"),
        (event_type("a/b", Order | Parcel), 5, "cannot be sent as Order | Parcel: expected"),
        (
            event_type("a/b", pydantic.RootModel[int]),
            pydantic.RootModel[int](5),
            "is 5, of type int",
        ),
        (event_type("a/b", Opaque), Opaque(), "pydantic cannot read Opaque: Unable to generate"),
    ],
)
def test_data_that_is_not_of_the_type_is_refused_at_once(
    kind: EventType[Any], data: object, problem: str
) -> None:
    with pytest.raises(NonRetriableError) as caught:
        kind(data)

    assert problem in caught.value.message


def test_data_that_was_changed_is_checked_again_when_it_is_sent() -> None:
    event = Mailed({"to": "me"})
    event.data["to"] = 5  # type: ignore[typeddict-item] # so said

    with pytest.raises(NonRetriableError, match="field 'to': expected str"):
        app().send_sync(event)


def test_what_is_no_event_is_left_to_sending_to_refuse() -> None:
    with pytest.raises(SendEventsError, match="event 0 is a dict, not an Event"):
        app().send_sync([{"name": "a/b"}])  # type: ignore[list-item] # so said


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("shop/*", "stands for many names and cannot be sent"),
        ("inngest/function.failed", "cannot be sent: names that begin with 'inngest/'"),
        ("Inngest/x", "cannot be sent: names that begin with 'inngest/'"),
    ],
)
def test_a_name_that_is_none_of_the_app_s_events_is_for_triggers_only(
    name: str, problem: str
) -> None:
    kind = event_type(name, Mail)

    with pytest.raises(FunctionConfigInvalidError) as caught:
        kind({"to": "me"})

    assert problem in caught.value.message
    assert kind.when("true").to_wire() == {"event": name, "expression": "true"}


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("", Order, "the name of an event_type is ''"),
        ("x" * 256, Order, "with 256 characters"),
        ("a/b", int, "has data of type int; the data of an event is an object"),
        ("a/b", list[Order], "has data of type list[Order]"),
        ("a/b", None, "has data of type None"),
    ],
)
def test_what_can_be_no_event_type_is_refused(name: str, data: object, problem: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        event_type(name, data)

    assert problem in caught.value.message


def test_a_type_that_pydantic_cannot_read_fails_the_run() -> None:
    answer = define(lambda ctx: None, trigger=event_type("a/b", Opaque)).call()

    assert answer.headers["x-inngest-no-retry"] == "true"
    assert "event_type('a/b'): pydantic cannot read Opaque" in answer.body.decode()


# ── registration ─────────────────────────────────────────────────────────────────────────────────


def test_a_type_is_registered_as_a_trigger_by_its_name() -> None:
    triggers = [Placed.when("event.data.n > 1"), Packed]

    [config] = define(lambda ctx: None, trigger=triggers).function.configs("http://app/x")

    assert config["triggers"] == [
        {"event": "a/b", "expression": "event.data.n > 1"},
        {"event": "shop/parcel.packed"},
    ]


def test_a_type_twice_is_a_trigger_too_many() -> None:
    with pytest.raises(FunctionConfigInvalidError, match="twice"):
        define(lambda ctx: None, trigger=[Placed, Placed])


def of_order(ctx: Context[Order]) -> None: ...
def of_parcel(ctx: ContextSync[Parcel]) -> None: ...
def of_mail(ctx: Context[Mail]) -> None: ...
def of_dict(ctx: Context[dict[str, Any]]) -> None: ...
def of_several(ctx: Context[Order | Mapping[str, Any]]) -> None: ...
def of_anything(ctx: Context[Any]) -> None: ...
def of_model(ctx: Context[pydantic.BaseModel]) -> None: ...
def of_bare(ctx: Context) -> None: ...
def of_unknown(ctx: Context[Unknown]) -> None: ...  # type: ignore[name-defined] # noqa: F821
def of_none() -> None: ...


@pytest.mark.parametrize(
    ("handler", "trigger", "problem"),
    [
        (of_parcel, Placed, "Context[Parcel], but its trigger 'a/b' gives Order: annotate it with"),
        (of_order, [Placed, Packed], "gives Parcel: annotate it with Context[Order | Parcel]"),
        (of_dict, Placed, "Context[dict[str, Any]], but its trigger 'a/b' gives Order"),
        (of_mail, Placed, "Context[Mail], but its trigger 'a/b' gives Order"),
        (of_order, Mailed, "Context[Order], but its trigger 'shop/mail.sent' gives Mail"),
        (of_order, event_type("a/b", Order | Parcel), "gives Order | Parcel"),
        (
            of_order,
            TriggerEvent(event="a/b"),
            "gives a plain dict: make the trigger an event_type of that data "
            "(event_type('a/b', Order))",
        ),
    ],
)
def test_an_annotation_that_the_trigger_contradicts_is_refused(
    handler: Any, trigger: Any, problem: str
) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        define(handler, trigger=trigger)

    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("handler", "trigger"),
    [
        (of_order, Placed),
        (of_order, [Placed, TriggerCron(cron="* * * * *")]),
        (of_several, [Placed, Mailed, TriggerEvent(event="c")]),
        (of_dict, Mailed),
        (of_mail, Mailed),
        (of_mail, TriggerEvent(event="a/b")),
        (of_anything, Placed),
        (of_model, Placed),
        (of_bare, Placed),
        (of_unknown, Placed),
        (of_none, Placed),
        (lambda ctx: None, Placed),
        (of_order, event_type("a/b", Any)),
    ],
)
def test_an_annotation_that_may_be_right_is_let_pass(handler: Any, trigger: Any) -> None:
    define(handler, trigger=trigger)


# ── cold start ───────────────────────────────────────────────────────────────────────────────────

TYPED_APP = """
from dataclasses import dataclass
from inngest_sdk.event_types import event_type
from inngest_serverless import ContextSync, Inngest, aws
@dataclass
class Order:
    n: int
client = Inngest(app_id="shop", is_production=False)
Placed = event_type("shop/order.placed", Order)
@client.create_function(fn_id="order", trigger=[Placed, Placed.when("event.data.n > 1")])
def order(ctx: ContextSync[Order]) -> None: ...
handler = aws.serve(client)
"""


def test_an_app_with_typed_events_starts_without_pydantic() -> None:
    assert "pydantic" not in loaded_by(TYPED_APP)
    assert "pydantic" in loaded_by(f"{TYPED_APP}\nPlaced(Order(1))")
