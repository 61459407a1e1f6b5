"""The page of the contract says what the suite tries, and what it does not try for a reason."""

from __future__ import annotations

import pytest

from tests.contract.doors import FRONT_DOORS
from tests.contract.table import HERE, LIMITS, MODULES, PAGE, behaviours, doors_of, page, reason

LEAST_BEHAVIOURS, LEAST_DOORS = 25, 10


def test_the_page_is_what_the_suite_would_write() -> None:
    found = PAGE.read_text("utf-8")
    assert found == page(), "write it anew: python -m tests.contract.table"


def test_every_file_of_behaviours_is_in_the_table() -> None:
    files = {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")}
    assert files - {"table"} == set(MODULES)


def test_the_contract_is_as_wide_as_it_says() -> None:
    names = [each.test for each in behaviours()]
    assert len(names) == len(set(names)) >= LEAST_BEHAVIOURS
    assert len(FRONT_DOORS) >= LEAST_DOORS


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_one_of_a_behaviour_that_other_doors_have(
    limit: tuple[str, tuple[str, ...], str],
) -> None:
    test, doors, why = limit
    assert test in {each.test for each in behaviours()}
    assert set(doors) < set(FRONT_DOORS)
    assert why
    assert doors_of(test)
    assert set(doors).isdisjoint(doors_of(test))
    assert {reason(test, door) for door in doors} == {why}
