"""Options that are a number of seconds."""

from __future__ import annotations

import pytest

from .conftest import Invoke


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "1e+300", "soon"])
@pytest.mark.parametrize(
    "words",
    [("run", "x", "--wait", "--timeout"), ("dev", "--retry-interval"), ("dev", "--timeout")],
)
def test_what_is_no_number_of_seconds_is_refused(
    invoke: Invoke, words: tuple[str, ...], given: str
) -> None:
    done = invoke(*words, given)
    assert done.exit_code == 2
    assert f"Invalid value for '{words[-1]}'" in done.output
    assert given in done.output


def test_a_call_cannot_be_given_no_time_at_all(invoke: Invoke) -> None:
    done = invoke("dev", "--timeout", "0")
    assert done.exit_code == 2
    assert "more than 0" in done.output
