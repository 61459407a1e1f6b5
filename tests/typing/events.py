"""What type checkers make of typed events. Read by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import pydantic

from inngest_sdk.event_types import EventType, event_type
from inngest_serverless import Batch, Context, ContextSync, Event, Function, Inngest, TriggerCron

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Order(pydantic.BaseModel):
    total: int


@dataclass
class Parcel:
    weight: float


class Mail(TypedDict):
    to: str


client = Inngest(app_id="shop", is_production=False)

Placed = event_type("shop/order.placed", Order)
Packed = event_type("shop/parcel.packed", Parcel)
Mailed = event_type("shop/mail.sent", Mail)
Counted = event_type("shop/counted", dict[str, int])
Pinged = event_type("shop/pinged")
Either: EventType[Order | Parcel] = event_type("shop/either", Order | Parcel)


def made() -> None:
    assert_type(Placed, EventType[Order])
    assert_type(Packed, EventType[Parcel])
    assert_type(Mailed, EventType[Mail])
    assert_type(Counted, EventType[dict[str, int]])
    assert_type(Pinged, EventType[Mapping[str, Any]])
    assert_type(Placed(Order(total=1), id="1", ts=1, v="2"), Event[Order])
    assert_type(Placed(Order(total=1)).data.total, int)
    assert_type(Mailed({"to": "me"}).data, Mail)
    Placed({"total": 1})  # type: ignore[arg-type] # a dict is no Order
    Packed(Order(total=1))  # type: ignore[arg-type] # of another type


async def sent() -> None:
    assert_type(await client.send(Placed(Order(total=1))), list[str])
    assert_type(await client.send([Placed(Order(total=1)), Mailed({"to": "me"})]), list[str])
    assert_type(client.send_sync([Event(name="a/b"), Packed(Parcel(1))]), list[str])
    orders: list[Event[Order]] = [Placed(Order(total=1))]
    assert_type(client.send_sync(orders), list[str])


@client.create_function(fn_id="one", trigger=Placed)
async def of_one_type(ctx: Context[Order]) -> int:
    assert_type(ctx.event, Event[Order])
    assert_type(ctx.event.data, Order)
    assert_type(ctx.events, list[Event[Order]])
    return ctx.event.data.total


@client.create_function(fn_id="batch", trigger=Placed, batch_events=Batch(max_size=2))
def of_a_batch(ctx: ContextSync[Order]) -> list[int]:
    assert_type(ctx.events[0].data, Order)
    return [event.data.total for event in ctx.events]


@client.create_function(
    fn_id="several",
    trigger=[Placed.when("event.data.total > 1"), Packed, TriggerCron(cron="* * * * *")],
)
async def of_several(ctx: Context[Order | Parcel | Mapping[str, Any]]) -> None:
    if isinstance(ctx.event.data, Order):
        assert_type(ctx.event.data, Order)


@client.create_function(fn_id="bare", trigger=Placed)
async def of_no_type(ctx: Context) -> None:
    assert_type(ctx.event, Event[Mapping[str, Any]])
    assert_type(ctx.event.data["total"], Any)


def defined() -> None:
    assert_type(of_one_type, Function[int])
    assert_type(of_a_batch, Function[list[int]])
    assert_type(of_several, Function[None])


async def waited(ctx: Context) -> None:
    typed = await ctx.step.wait_for_event("a", event=Placed, timeout="1h")
    assert_type(typed, Event[Order] | None)
    plain = await ctx.step.wait_for_event("b", event="shop/x", if_exp="true", timeout="1h")
    assert_type(plain, Event[Mapping[str, Any]] | None)
    assert_type(await ctx.step.send_event("c", [Placed(Order(total=1))]), list[str])
    assert_type(await ctx.step.send_event("d", Mailed({"to": "me"})), list[str])


def waited_sync(ctx: ContextSync) -> None:
    typed = ctx.step.wait_for_event("a", event=Mailed, timeout="1h")
    assert_type(typed, Event[Mail] | None)
    assert_type(
        ctx.step.wait_for_event("b", event="shop/x", timeout=1), Event[Mapping[str, Any]] | None
    )
    assert_type(ctx.step.send_event("c", Packed(Parcel(1))), list[str])


async def invoked(ctx: Context) -> None:
    assert_type(await ctx.step.invoke("a", function=of_one_type, data=Order(total=1)), int)
    assert_type(await ctx.step.invoke("b", function=of_a_batch, data=Parcel(1)), list[int])
    assert_type(await ctx.step.invoke("c", function=of_one_type, data={"total": 1}), int)
    assert_type(await ctx.step.invoke("d", function=of_one_type, data=Mail(to="me")), int)
    assert_type(await ctx.step.invoke_by_id("e", function_id="x", data=Order(total=1)), object)
    await ctx.step.invoke("f", function=of_one_type, data="text")  # type: ignore[arg-type] # no object


def invoked_sync(ctx: ContextSync) -> None:
    assert_type(ctx.step.invoke("a", function=of_one_type, data=Order(total=1)), int)
    assert_type(ctx.step.invoke_by_id("b", function_id="x", data=Parcel(1)), object)
