"""The page of features is whole: every row is there, a "yes" has its test, a "no" its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "features.md"

# How many capabilities the official SDKs have, by the headings of the page.
ROWS = {
    "Step tools": 26,
    "Function options": 24,
    "Errors and results": 7,
    "Serving": 21,
    "Client, events, realtime": 14,
    "Middleware, testing, observability": 22,
}
BEYOND = "Beyond them"
LEAST_REASON = 3  # words
OTHERS = ("yes", "no", "exp")

_LINK = re.compile(r"\[([^\[\]]+)\]\(([^()]+)\)")
_NOTE = re.compile(r" \[\d+\]")


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, what the others have (go, py, js), and what is here."""

    name: str
    others: tuple[str, ...]
    here: str


def rows(heading: str) -> list[Row]:
    """The rows of the table under a heading, without its head."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    found = []
    for line in lines[2:]:
        name, *others, here = (cell.strip() for cell in line.strip("|").split("|"))
        found.append(Row(name, tuple(_NOTE.sub("", each) for each in others), here))
    return found


def problem(here: str) -> str | None:
    """What is wrong with a verdict, None if nothing."""
    verdict, _, rest = here.partition(": ")
    if verdict == "no":
        return None if len(rest.split()) >= LEAST_REASON else "a reason of a few words is missing"
    if verdict != "yes":
        return "it begins neither with 'yes: ' nor with 'no: '"
    if not (links := _LINK.findall(rest)):
        return "no test is linked"
    return next((found for link in links if (found := problem_of_link(*link))), None)


def problem_of_link(words: str, target: str) -> str | None:
    """What is wrong with a link to a test, None if nothing."""
    path = (PAGE.parent / target).resolve()
    if not path.is_file():
        return f"there is no file {target}"
    test = "test_" + words.replace(" ", "_")
    defined = re.compile(rf"^ *(?:async )?def {re.escape(test)}\(", re.MULTILINE)
    if not defined.search(path.read_text(encoding="utf-8")):
        return f"there is no {test} in {target}"
    return None


@pytest.mark.parametrize(("heading", "count"), ROWS.items())
def test_a_table_has_every_capability_once(heading: str, count: int) -> None:
    names = [row.name for row in rows(heading)]

    assert len(names) == count
    assert len(set(names)) == count


@pytest.mark.parametrize("heading", ROWS)
def test_a_row_says_what_each_of_the_others_has(heading: str) -> None:
    for row in rows(heading):
        assert len(row.others) == 3, row
        assert set(row.others) <= set(OTHERS), row


@pytest.mark.parametrize("heading", ROWS)
def test_a_yes_has_a_test_and_a_no_has_a_reason(heading: str) -> None:
    wrong = {row.name: found for row in rows(heading) if (found := problem(row.here))}

    assert wrong == {}


def test_what_goes_beyond_them_is_shown_by_tests() -> None:
    found = rows(BEYOND)
    wrong = {row.name: problem(f"yes: {row.here}") for row in found}

    assert len(found) > 0
    assert {name: each for name, each in wrong.items() if each} == {}


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ("no: the opposite of serverless", None),
        ("yes: [who may call](../tests/sdk/test_endpoint.py)", None),
        ("yes: [a task group runs each body once](../tests/sdk/test_parallel.py)", None),
        ("no: not yet", "a reason of a few words is missing"),
        ("no", "a reason of a few words is missing"),
        ("yes", "no test is linked"),
        ("maybe: some day, who knows", "it begins neither with 'yes: ' nor with 'no: '"),
        ("yes: [who may call](../tests/gone.py)", "there is no file ../tests/gone.py"),
        (
            "yes: [who may](../tests/sdk/test_endpoint.py)",
            "there is no test_who_may in ../tests/sdk/test_endpoint.py",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_found(here: str, said: str | None) -> None:
    assert problem(here) == said
