"""The tables of a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def rows(page: str, *sections: str) -> list[list[str]]:
    """The cells of the tables in these sections (all of them, if none is named), line by line."""
    return [row for section in sections or ("",) for row in _rows(page, section)]


def _rows(page: str, section: str) -> list[list[str]]:
    text = (DOCS / page).read_text(encoding="utf-8")
    if section:
        text = text.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    heads = [at - 1 for at, row in enumerate(cells) if set("".join(row)) == {"-"}]
    return [row for at, row in enumerate(cells) if at not in heads and at - 1 not in heads]


def code(cell: str) -> list[str]:
    """What a cell shows as code."""
    return re.findall(r"`([^`]+)`", cell)
