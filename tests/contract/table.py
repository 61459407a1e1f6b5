"""Which front door has which behaviour: what the tests are made for, and the page that says so.

python -m tests.contract.table      writes docs/contract.md
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from tests.contract.doors import FRONT_DOORS

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "contract.md"
MODULES = ("describing", "registering", "signatures", "calls", "steps", "server")

WHOLE = tuple(name for name, front in FRONT_DOORS.items() if not front.streams)
STREAMED = tuple(name for name, front in FRONT_DOORS.items() if front.streams)
LOAD_BALANCERS = ("alb", "alb_multi_value")
DECODING = ("http_api_payload_1", "rest_api")

IN_ONE_PIECE = "nothing streams here: the door cannot, or INNGEST_STREAMING is not set"

# What a door cannot have: behaviour, doors, reason.
LIMITS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "test_the_registered_url_has_the_query_byte_for_byte",
        DECODING,
        "the gateway hands the query over decoded; encoded again it means the same, in other "
        "bytes (`%7E` for `~`)",
    ),
    (
        "test_the_answer_to_a_signed_call_is_signed",
        STREAMED,
        "a stream's first bytes leave before its last are known: there is nothing to sign yet",
    ),
    (
        "test_the_answer_to_a_call_is_the_document_of_a_stream",
        WHOLE,
        IN_ONE_PIECE,
    ),
    (
        "test_the_first_byte_of_an_answer_comes_while_the_function_still_runs",
        WHOLE,
        IN_ONE_PIECE,
    ),
    (
        "test_the_first_byte_of_an_answer_comes_while_the_function_still_runs",
        ("azure_streamed",),
        "the local stand-in for Azure's host passes a stream on whole; that its first byte leaves "
        "early is shown [inside the worker](../tests/azure/test_streaming.py)",
    ),
    (
        "test_the_answer_to_a_call_leaves_in_one_piece_with_its_own_status",
        STREAMED,
        "every call is answered by a stream, which is what this door is here for",
    ),
    (
        "test_an_answer_of_two_megabytes_arrives",
        LOAD_BALANCERS,
        "a load balancer takes an answer of at most 1 MB from Lambda; ours then says so",
    ),
)


@dataclass(frozen=True)
class Behaviour:
    """A test that takes the fixture `door`."""

    module: str
    test: str

    @property
    def words(self) -> str:
        """Its name as a sentence."""
        return self.test.removeprefix("test_").replace("_", " ")


def behaviours() -> list[Behaviour]:
    """All of them, in the order of the files."""
    return [each for module in MODULES for each in _behaviours_in(module)]


def _behaviours_in(module: str) -> list[Behaviour]:
    tree = ast.parse((HERE / f"test_{module}.py").read_text("utf-8"))
    return [
        Behaviour(module, node.name)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and _is_behaviour(node)
    ]


def _is_behaviour(function: ast.FunctionDef) -> bool:
    takes = [each.arg for each in function.args.args]
    return function.name.startswith("test_") and "door" in takes


def reason(test: str, door: str) -> str | None:
    """Why the door cannot have the behaviour; None if it has it."""
    return next((why for name, doors, why in LIMITS if name == test and door in doors), None)


def doors_of(test: str) -> list[str]:
    """The doors that a behaviour is tried through."""
    return [door for door in FRONT_DOORS if reason(test, door) is None]


def page() -> str:
    """docs/contract.md as it should be."""
    found = behaviours()
    notes = list(dict.fromkeys(why for _, _, why in LIMITS))
    head = "| Behaviour | " + " | ".join(front.title for front in FRONT_DOORS.values()) + " |"
    rule = "|---|" + "---|" * len(FRONT_DOORS)
    rows = [_row(each, notes) for each in found]
    footnotes = [f"[{number}] {why}." for number, why in enumerate(notes, 1)]
    return "\n".join([_intro(len(found)), head, rule, *rows, "", "  \n".join(footnotes), ""])


def _row(behaviour: Behaviour, notes: list[str]) -> str:
    cells = []
    for door in FRONT_DOORS:
        why = reason(behaviour.test, door)
        cells.append("yes" if why is None else f"no [{notes.index(why) + 1}]")
    link = f"[{behaviour.words}](../tests/contract/test_{behaviour.module}.py)"
    return f"| {link} | " + " | ".join(cells) + " |"


def _intro(count: int) -> str:
    tried = sum(len(doors_of(each.test)) for each in behaviours())
    return f"""\
# One contract through every front door

An Inngest server notices nothing of the platform that an app runs on. {count} behaviours are
written once, in [tests/contract](../tests/contract), and tried through {len(FRONT_DOORS)} front
doors with [one app](../tests/contract/app.py): {tried} combinations, each on the platform's real
runtime.

| Front doors | What runs the app | What is in front of it |
|---|---|---|
| Function URL, also streamed | AWS's runtime client behind the local Runtime API | HTTP |
| HTTP API, REST API, ALB, VPC Lattice, direct | the same | their events, by the Runtime API |
| Google Cloud, in each mode and streamed | functions-framework | HTTP |
| Azure, also streamed | Microsoft's runtime for Python | HTTP |
| ASGI, also streamed | uvicorn | HTTP |

*Streamed* is `INNGEST_STREAMING=force`: the same answer must be in the document that the stream
ends with. A *no* has its reason in the note of that number, below the table.

This page is written by `python -m tests.contract.table` from what the tests are made for; a test
fails when it is not up to date.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
