"""Identifiers: in order, repeatable, and as the protocol fixes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_serverless.engine.ids import Ulids, job_id, seeded, ulid, ulid_ms


def test_a_seed_gives_the_ids_that_a_real_server_gave() -> None:
    seed = "1700000000000,AAECAwQFBgcICQ=="
    expected = ["01HF7YAT00000G40R40M30E20A", "01HF7YAT00000G40R40M30E20B"]
    assert seeded(seed, 2) == expected
    assert seeded(seed, 2) == expected


def test_a_seed_counts_around_its_end() -> None:
    first, second = seeded("0,AAAAAAAA/////w==", 2)
    assert (first, second) == ("0" * 26, "0" * 25 + "1")


@pytest.mark.parametrize("seed", ["", "1", "x,AAECAwQFBgcICQ==", "1,AAEC", "1,???", "-1,AAECAwQF"])
def test_a_broken_seed_is_refused(seed: str) -> None:
    with pytest.raises(ValueError, match="not an event id seed"):
        seeded(seed, 1)


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_a_ulid_keeps_its_time(ms: int, entropy: bytes) -> None:
    assert ulid_ms(ulid(ms, entropy)) == ms


@pytest.mark.parametrize("text", ["", "01HF7YAT0", "81HF7YAT00000G40R40M30E20A", "o" * 26])
def test_what_is_no_ulid_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ulid_ms(text)


@given(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=50))
def test_new_ids_rise_whatever_the_clock_does(times: list[int]) -> None:
    ulids = Ulids()
    made = [ulids.new(ms) for ms in times]
    assert made == sorted(set(made))


def test_the_same_work_has_the_same_id() -> None:
    assert job_id("run", "plan", "a") == job_id("run", "plan", "a")
    ids = {job_id("run", "plan", "a"), job_id("run", "plan", "b"), job_id("run", "sleep", "a")}
    assert len(ids) == 3
    assert all(each.isalnum() and each.islower() for each in ids)
