"""A shop, written with the official SDK and served by FastAPI.

Its test moves it over as docs/migrate.md says, and runs both.
"""

import base64
import datetime
import json
import typing

import fastapi
import inngest
import inngest.fast_api
import pydantic


class Quote(pydantic.BaseModel):
    carrier: str
    price: float
    valid_until: datetime.date


class Receipt(pydantic.BaseModel):
    order_id: str
    total: float
    quote: Quote
    settled_by: str


class Tenant(inngest.MiddlewareSync):
    """Says in each event whose it is."""

    def before_send_events(self, events: list[inngest.Event]) -> None:
        for event in events:
            event.data = {**event.data, "tenant": "acme"}


class Sealed(inngest.MiddlewareSync):
    """Lets the server keep the results of steps, and not read them."""

    def transform_input(
        self,
        ctx: inngest.Context | inngest.ContextSync,
        function: inngest.Function[typing.Any],
        steps: inngest.StepMemos,
    ) -> None:
        for step in steps.values():
            if isinstance(step.data, dict) and "sealed" in step.data:
                step.data = json.loads(base64.b64decode(step.data["sealed"]))

    def transform_output(self, result: inngest.TransformOutputResult) -> None:
        if result.step is not None and isinstance(result.output, (dict, float, str)):
            plain = json.dumps(result.output).encode()
            result.output = {"sealed": base64.b64encode(plain).decode()}


client = inngest.Inngest(
    app_id="shop", middleware=[Tenant], serializer=inngest.PydanticSerializer()
)


def add_up(prices: list[float]) -> float:
    return sum(prices)


async def total_of(prices: list[float]) -> float:
    return add_up(prices)


async def ask(carrier: str, weight: int) -> Quote:
    price = {"dhl": 4.5, "ups": 5.5}[carrier] + weight
    return Quote(carrier=carrier, price=price, valid_until=datetime.date(2030, 1, 31))


async def note(text: str) -> str:
    return text.upper()


@client.create_function(fn_id="charge", trigger=inngest.TriggerEvent(event="shop/charge"))
async def charge(ctx: inngest.Context) -> dict[str, object]:
    if ctx.event.data["card"] == "stolen":
        raise inngest.NonRetriableError("the card is stolen")
    if ctx.attempt == 0:
        raise inngest.RetryAfterError("the bank is busy", datetime.timedelta(minutes=10))
    return {"paid": ctx.event.data["amount"], "attempt": ctx.attempt}


async def apologize(ctx: inngest.Context) -> str:
    data = typing.cast(typing.Any, ctx.event.data)
    order = data["event"]["data"]["order_id"]
    return await ctx.step.run("note", note, f"order {order}: {data['error']['message']}")


@client.create_function(
    fn_id="place-order",
    name="Place an order",
    trigger=inngest.TriggerEvent(event="shop/order.placed", expression="event.data.weight > 0"),
    retries=2,
    idempotency="event.data.order_id",
    concurrency=[inngest.Concurrency(limit=5, key="event.data.tenant", scope="fn")],
    priority=inngest.Priority(run="event.data.vip ? 60 : 0"),
    timeouts=inngest.Timeouts(finish=datetime.timedelta(days=7)),
    cancel=[
        inngest.Cancel(
            event="shop/order.cancelled", if_exp="event.data.order_id == async.data.order_id"
        )
    ],
    middleware=[Sealed],
    on_failure=apologize,
    output_type=Receipt,
)
async def place_order(ctx: inngest.Context) -> Receipt:
    data = typing.cast(typing.Any, ctx.event.data)
    ctx.logger.info("placing order %s", data["order_id"])
    total = await ctx.step.run("total", total_of, data["lines"])
    quotes = await ctx.group.parallel(
        (
            lambda: ctx.step.run("dhl", ask, "dhl", data["weight"], output_type=Quote),
            lambda: ctx.step.run("ups", ask, "ups", data["weight"], output_type=Quote),
        )
    )
    quote = min(quotes, key=lambda each: each.price)
    try:
        await ctx.step.invoke(
            "charge", function=charge, data={"card": data["card"], "amount": total + quote.price}
        )
    except inngest.StepError as error:
        raise inngest.NonRetriableError(f"not charged: {error.message}") from error
    await ctx.step.sleep("settle", datetime.timedelta(hours=1))
    settled = await ctx.step.wait_for_event(
        "settled",
        event="shop/payment.settled",
        if_exp="event.data.order_id == async.data.order_id",
        timeout=datetime.timedelta(days=1),
    )
    if settled is None:
        raise inngest.NonRetriableError("never settled")
    await ctx.step.send_event(
        "ship", inngest.Event(name="shop/order.ready", data={"order_id": data["order_id"]})
    )
    return Receipt(
        order_id=data["order_id"],
        total=total,
        quote=quote,
        settled_by=str(settled.data["bank"]),
    )


@client.create_function(
    fn_id="ship",
    trigger=inngest.TriggerEvent(event="shop/order.ready"),
    batch_events=inngest.Batch(max_size=2, timeout=datetime.timedelta(seconds=30)),
)
async def ship(ctx: inngest.Context) -> list[object]:
    return [[event.data["order_id"], event.data["tenant"]] for event in ctx.events]


@client.create_function(
    fn_id="take-stock",
    trigger=[
        inngest.TriggerCron(cron="TZ=Europe/Paris 0 9 29 2 *"),
        inngest.TriggerEvent(event="shop/stock.asked"),
    ],
    throttle=inngest.Throttle(limit=10, period=datetime.timedelta(minutes=1), burst=2),
)
def take_stock(ctx: inngest.ContextSync) -> object:
    shelves = ctx.group.parallel(
        (
            lambda: ctx.step.run("left", add_up, [1.0, 2.0]),
            lambda: ctx.step.run("right", add_up, [3.5]),
        )
    )
    ctx.step.sleep_until("noon", datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc))
    return {"shelves": shelves, "all": ctx.step.run("all", lambda: sum(shelves))}


@client.create_function(
    fn_id="index",
    trigger=inngest.TriggerEvent(event="shop/product.changed"),
    debounce=inngest.Debounce(period=datetime.timedelta(seconds=20), key="event.data.product"),
)
async def index(ctx: inngest.Context) -> object:
    return ctx.event.data["price"]


@client.create_function(
    fn_id="remind",
    trigger=inngest.TriggerEvent(event="shop/cart.left"),
    rate_limit=inngest.RateLimit(limit=1, period=datetime.timedelta(hours=1), key="event.data.who"),
)
async def remind(ctx: inngest.Context) -> object:
    if ctx.attempt < 2:
        raise ValueError(f"attempt {ctx.attempt}")
    return [ctx.event.data["who"], ctx.attempt]


functions: list[inngest.Function[typing.Any]] = [
    charge,
    place_order,
    ship,
    take_stock,
    index,
    remind,
]

app = fastapi.FastAPI()


@app.post("/events")
async def take_events(events: list[dict[str, typing.Any]]) -> list[str]:
    return await client.send([inngest.Event(**event) for event in events])


inngest.fast_api.serve(app, client, functions)
