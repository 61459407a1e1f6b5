"""What the functions call: stand-ins for a bank, a warehouse and a mail service.

Nothing here knows of Inngest. Each call that has an effect is written to the file that SHOP_LEDGER
names, if it is set: the demo reads it to show that nothing happened twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

PRICES = {"teapot": 3900, "cup": 900, "tea": 700}


class BankIsBusy(Exception):
    """The bank did not answer in time; asking again helps."""


class CardDeclined(Exception):
    """The bank said no, and will say no again."""


def charge(order: Mapping[str, Any], attempt: int) -> dict[str, Any]:
    """Take the money. This bank is always too busy to answer the first time it is asked."""
    if attempt == 0:
        raise BankIsBusy("no answer from the bank within 10 s")
    if order["card"] == "expired":
        raise CardDeclined("the card has expired")
    return _done("charge", order["order_id"], amount=total(order["items"]))


def refund(order: Mapping[str, Any]) -> dict[str, Any]:
    """Give back what was taken for an order: nothing, if its card had been declined."""
    amount = 0 if order["card"] == "expired" else total(order["items"])
    return _done("refund", order["order_id"], amount=amount) if amount else {"amount": 0}


def total(items: Mapping[str, int]) -> int:
    """Return the price of `items` in cents."""
    return sum(PRICES[item] * count for item, count in items.items())


def reserve(order_id: str, item: str, count: int) -> dict[str, Any]:
    """Put `count` pieces of `item` aside."""
    return _done("reserve", order_id, item=item, count=count)


def release(order_id: str, items: Mapping[str, int]) -> dict[str, Any]:
    """Put everything that was set aside for an order back on the shelf."""
    return _done("release", order_id, items=items)


async def send_mail(to: str, order_id: str, text: str) -> dict[str, Any]:
    """Send a mail."""
    return _done("mail", order_id, to=to, text=text)


async def send_text(to: str, order_id: str, text: str) -> dict[str, Any]:
    """Send a text message."""
    return _done("text", order_id, to=to, text=text)


def sales_of(day: str) -> dict[str, Any]:
    """Return what was sold on `day`, as the till remembers it."""
    return {"day": day, "orders": 12, "revenue": 87_600}


def _done(effect: str, order_id: str, **details: Any) -> dict[str, Any]:
    record = {"effect": effect, "order_id": order_id, **details}
    print(f"{effect} {order_id} {details}", flush=True)
    if ledger := os.environ.get("SHOP_LEDGER"):
        with open(ledger, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    return record
