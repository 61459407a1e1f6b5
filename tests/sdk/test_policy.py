"""How often, how soon and for how long a step is tried."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inngest_sdk.policy import Tries, may_retry, tries
from inngest_serverless import FunctionConfigInvalidError, NonRetriableError, Retry, StepOptions


class CardDeclined(Exception):
    pass


@pytest.mark.parametrize(
    ("most", "max_attempts", "here"),
    [
        (0, 4, [1]),
        (1, 4, [1, 1]),
        (3, 4, [1, 1, 1, 1]),
        (4, 4, [2, 1, 1, 1]),
        (9, 4, [3, 3, 2, 2]),
        (9, 1, [10]),
        (2, None, [1, 1, 1]),
    ],
)
def test_the_tries_of_a_step_are_spread_over_the_calls_of_the_server(
    most: int, max_attempts: int | None, here: list[int]
) -> None:
    plans = [tries(Retry(max=most), attempt, max_attempts) for attempt in range(len(here))]
    assert [plan.here for plan in plans] == here
    assert [plan.before for plan in plans] == [sum(here[:n]) for n in range(len(here))]
    assert [plan.last for plan in plans] == [False] * (len(here) - 1) + [True]


def test_without_a_policy_the_function_rules() -> None:
    assert tries(None, 2, 4) == Tries(before=2, here=1, last=False)
    assert tries(None, 3, 4) == Tries(before=3, here=1, last=True)
    assert tries(None, 99, None) == Tries(before=99, here=1, last=False)


def test_an_attempt_beyond_the_policy_is_the_last() -> None:
    # Code outside of the step has used up attempts before the step was reached.
    assert tries(Retry(max=1), 3, 10).last


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (None, [None, None, None]),
        ("2s", [2, 4, 8]),
        (500, [0.5, 1, 2]),
        ("20h", [72_000, 86_400, 86_400]),
        (lambda retry: timedelta(minutes=retry), [60, 120, 180]),
    ],
)
def test_pauses_double_or_are_what_a_function_says(backoff: Any, pauses: list[float]) -> None:
    assert [Retry(backoff=backoff).pause(retry) for retry in (1, 2, 3)] == pauses


def test_what_is_never_tried_again() -> None:
    policy = Retry(no_retry=[CardDeclined, KeyError])
    assert may_retry(ValueError(), policy)
    assert not may_retry(CardDeclined(), policy)
    assert not may_retry(KeyError(), policy)
    assert not may_retry(NonRetriableError("no"), policy)
    assert may_retry(CardDeclined(), None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retry(max=-1), r"Retry.max is -1; it takes 0 to 100"),
        (lambda: Retry(max=True), r"Retry.max is True"),
        (lambda: Retry(backoff="soon"), r"Retry.backoff: 'soon' is not a duration"),
        (lambda: Retry(backoff=-1), r"Retry.backoff is negative"),
        (lambda: Retry(backoff=lambda retry: "x").pause(2), r"Retry.backoff\(2\): 'x' is not"),
        (lambda: Retry(no_retry=["ValueError"]), r"no_retry lists 'ValueError'; it takes classes"),  # type: ignore[list-item] # what is refused
        (lambda: StepOptions("a", timeout=0), r"timeout of step 'a' is not above zero"),
        (lambda: StepOptions("a", timeout="x"), r"timeout of step 'a': 'x' is not a duration"),
        (
            lambda: StepOptions("a", at_most_once=True, retry=Retry(max=2)),
            r"step 'a' is to run at most once, and to be retried 2 times",
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError, match=message):
        make()
