"""DynamoDB's attribute values to JSON. Pure."""

from __future__ import annotations

from typing import Any

# DynamoDB's numbers have 38 digits at most; anything much longer is none of its own.
_LONGEST_NUMBER = 64


def plain_item(image: dict[str, Any]) -> dict[str, Any]:
    """The plain values of an item: {"total": {"N": "9.5"}} is {"total": 9.5}."""
    return {str(name): plain_value(value) for name, value in image.items()}


def plain_value(value: object) -> Any:
    """The plain value of one attribute: lists and sets as lists, binaries as their base64.

    What has not the form of an attribute value stays as it is.
    """
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, held),) = value.items()
    match kind, held:
        case (("S" | "B" | "BOOL" | "SS" | "BS"), _):
            return held
        case "NULL", _:
            return None
        case "N", str():
            return plain_number(held)
        case "NS", list():
            return [plain_number(each) if isinstance(each, str) else each for each in held]
        case "L", list():
            return [plain_value(each) for each in held]
        case "M", dict():
            return plain_item(held)
        case _:
            return value


def plain_number(digits: str) -> int | float | str:
    """The number, or its text where JSON's readers would change it: they read doubles, of about 16
    digits, and DynamoDB keeps 38."""
    from decimal import Decimal, InvalidOperation

    if len(digits) > _LONGEST_NUMBER:
        return digits
    try:
        exact, near = Decimal(digits), float(digits)
        if not exact.is_finite() or Decimal(repr(near)) != exact:
            return digits
    except (InvalidOperation, ValueError):
        return digits
    return int(near) if near.is_integer() and abs(near) < 2**53 else near
