"""The shop's durable functions. `INNGEST_APP=orders.functions:client` names this app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from inngest_serverless import (
    Context,
    ContextSync,
    Inngest,
    NonRetriableError,
    TriggerCron,
    TriggerEvent,
)
from orders import shop

client = Inngest(app_id="shop")


async def undo_order(ctx: Context) -> dict[str, Any]:
    """Runs once when `fulfil_order` has failed for good: undo what was done, tell the customer."""
    order = ctx.event.data["event"]["data"]
    reason = ctx.event.data["error"]["message"]
    refund = await ctx.step.run("refund", shop.refund, order)
    await ctx.step.run("release-stock", shop.release, order["order_id"], order["items"])
    await ctx.step.run(
        "apologise", shop.send_mail, order["email"], order["order_id"], f"Sorry: {reason}"
    )
    return {"order_id": order["order_id"], "refunded": refund["amount"], "reason": reason}


@client.create_function(
    fn_id="fulfil-order",
    trigger=TriggerEvent(event="shop/order.placed"),
    retries=3,
    on_failure=undo_order,
)
async def fulfil_order(ctx: Context) -> dict[str, Any]:
    """Charge the card, wait until the order is packed, tell the customer in two ways at once."""
    order = ctx.event.data

    def charge() -> dict[str, Any]:
        try:
            return shop.charge(order, ctx.attempt)
        except shop.CardDeclined as error:  # anything else is tried again
            raise NonRetriableError(str(error)) from error

    payment = await ctx.step.run("charge", charge)

    # This may take days. Meanwhile nothing runs and nothing is paid for.
    packed = await ctx.step.wait_for_event(
        "wait-until-packed",
        event="shop/order.packed",
        if_exp="async.data.order_id == event.data.order_id",
        timeout=timedelta(days=3),
    )
    if packed is None:
        raise NonRetriableError("the order was not packed within three days")
    if sold_out := packed.data.get("sold_out"):
        raise NonRetriableError(f"sold out: {', '.join(sold_out)}")

    news = f"{order['order_id']} is on its way: {packed.data['parcel']}"
    await asyncio.gather(
        ctx.step.run("mail", shop.send_mail, order["email"], order["order_id"], news),
        ctx.step.run("text", shop.send_text, order["phone"], order["order_id"], news),
    )
    return {
        "order_id": order["order_id"],
        "paid": payment["amount"],
        "parcel": packed.data["parcel"],
    }


@client.create_function(
    fn_id="reserve-stock",
    trigger=TriggerEvent(event="shop/order.placed"),
)
def reserve_stock(ctx: ContextSync) -> dict[str, Any]:
    """Put each item of the order aside, all at the same time. A function without async."""
    order_id, items = ctx.event.data["order_id"], ctx.event.data["items"]

    def reserving(item: str, count: int) -> Callable[[], dict[str, Any]]:
        return lambda: ctx.step.run(f"reserve-{item}", shop.reserve, order_id, item, count)

    reserved = ctx.group.parallel(tuple(reserving(item, count) for item, count in items.items()))
    return {"order_id": order_id, "reserved": sum(each["count"] for each in reserved)}


@client.create_function(
    fn_id="daily-report",
    trigger=[
        TriggerCron(cron="TZ=Europe/Paris 0 6 * * *"),
        TriggerEvent(event="shop/report.requested"),
    ],
)
async def daily_report(ctx: Context) -> dict[str, Any]:
    """Mail yesterday's sales to the owner: every morning, or when somebody asks."""
    day = ctx.event.data.get("day", "yesterday")
    await ctx.step.sleep("let-the-till-close", timedelta(seconds=1))
    sales = await ctx.step.run("add-up", shop.sales_of, day)
    text = f"{sales['orders']} orders, {sales['revenue'] / 100:.2f} EUR"
    await ctx.step.run("mail-owner", shop.send_mail, "owner@shop.example", f"report-{day}", text)
    return sales
