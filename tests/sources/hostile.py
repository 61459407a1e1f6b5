"""Breaks shapes: fields go missing, are null, of another type, or what an attacker would send."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator
from typing import Any

_DEEP: Any = []
for _ in range(400):
    _DEEP = [_DEEP]

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 2**63, 10**400, 1.5, -0.0, math.nan, math.inf, -math.inf),
    *("", " ", "\0", "\ud800", "é" * 9, "x" * 3000, "9" * 5000, "inngest/function.failed", "../.."),
    *("{", "NaN", "[1e999]", "[" * 9999, '"\\ud800"', "AAE", "////", "2026-99-99T99:99:99Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "%ff%00+", "arn:aws:sqs:", "aws:sqs"),
    *([], {}, [None], [[]], {"": ""}, {"N": "x"}, {"M": {"M": {}}}, {"L": [7]}, {"S": {}}, _DEEP),
    *("aws:s3", "aws:kinesis", "aws:dynamodb", "aws:sns", "aws:mq", 9007199254740993, "1E+999999"),
)


def broken(shape: Any, seed: int) -> Any:
    """The shape with up to four of its places broken; the seed says which and how."""
    chosen = random.Random(seed)
    whole = {"": json.loads(json.dumps(shape))}  # far quicker than deepcopy
    for _ in range(chosen.randint(1, 4)):
        places = list(_places(whole))
        holder, key = chosen.choice(places)
        match chosen.randrange(4):
            case 0 if holder is not whole:
                del holder[key]
            case 1:
                holder[key] = None
            case _:
                holder[key] = _fresh(chosen.choice(HOSTILE))
    return whole[""]


def _fresh(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, (dict, list)) else value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])
