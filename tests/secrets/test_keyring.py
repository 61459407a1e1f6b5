"""When a secret is fetched, and when what was fetched before is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from inngest_sdk.config import Reference
from inngest_sdk.errors import ConfigError, SecretUnavailableError
from inngest_sdk.keys import AGAIN_SECONDS, FAILED_SECONDS, Keyring, register
from tests.secrets.store import SCHEME, Store

NOW = 1_795_347_346.0
KEY = Reference(SCHEME, "key", "INNGEST_SIGNING_KEY")


def ring(store: Store) -> Keyring:
    return Keyring({SCHEME: store.fetch})


@pytest.mark.parametrize(
    ("later", "again", "told", "fetches"),
    [
        (0.0, False, "aa", 1),
        (299.0, False, "aa", 1),
        (300.0, False, "bb", 2),
        (-299.0, False, "aa", 1),  # a thread that looked at the clock earlier
        (-300.0, False, "bb", 2),  # a clock that was set back
        (AGAIN_SECONDS - 1, True, "aa", 1),
        (AGAIN_SECONDS, True, "bb", 2),
    ],
)
def test_a_secret_is_fetched_when_it_is_old_or_seems_wrong(
    later: float, again: bool, told: str, fetches: int
) -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    assert keyring.reveal(KEY, NOW) == "aa"
    store.secrets["key"] = "bb"
    assert keyring.reveal(KEY, NOW + later, again) == told
    assert len(store.asked) == fetches


def test_how_long_a_secret_counts_is_the_references_to_say() -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    hourly = Reference(SCHEME, "key", max_age=3_600)
    keyring.reveal(hourly, NOW)
    keyring.reveal(hourly, NOW + 3_599)
    assert store.asked == [("key", False)]


def test_a_storm_of_wrong_signatures_causes_one_fetch_in_half_a_minute() -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    keyring.reveal(KEY, NOW)
    for second in range(60):
        keyring.reveal(KEY, NOW + second, again=True)
    assert store.asked == [("key", False), ("key", True)]


def test_a_store_that_refuses_is_asked_again_after_seconds_only() -> None:
    store = Store()
    keyring = ring(store)
    for second in (0.0, 1.0, FAILED_SECONDS - 1):
        with pytest.raises(SecretUnavailableError, match="the shelf is empty; put it there"):
            keyring.reveal(KEY, NOW + second)
    assert len(store.asked) == 1
    store.secrets["key"] = "aa"
    assert keyring.reveal(KEY, NOW + FAILED_SECONDS) == "aa"


def test_a_secret_that_is_too_old_counts_no_more_when_it_cannot_be_fetched() -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    keyring.reveal(KEY, NOW)
    store.secrets.clear()
    with pytest.raises(SecretUnavailableError):
        keyring.reveal(KEY, NOW + 300)
    assert keyring.reveal(KEY, NOW + 299) == "aa"


def test_a_secret_counts_on_when_only_the_second_look_at_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    keyring.reveal(KEY, NOW)
    store.secrets.clear()
    assert keyring.reveal(KEY, NOW + AGAIN_SECONDS, again=True) == "aa"
    assert "the shelf is empty" in caplog.text and "counts on" in caplog.text


def test_an_error_names_the_setting_and_the_reference_but_no_secret() -> None:
    keyring = ring(Store({"key": "s3cret, and no key"}))
    with pytest.raises(SecretUnavailableError) as caught:
        keyring.reveal(KEY, NOW)
    message = caught.value.message
    assert message.startswith("INNGEST_SIGNING_KEY refers to 'shelf:key', which could not be")
    assert "what lies there is not a signing key (not shown here)" in message
    assert "s3cret" not in message
    assert caught.value.__cause__ is None
    assert caught.value.retriable


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (Reference(SCHEME, "blank"), "what lies there is empty"),
        (Reference("nowhere", "key"), "nothing is registered that fetches 'nowhere'"),
    ],
)
def test_what_cannot_be_a_key_is_said_so(reference: Reference, said: str) -> None:
    with pytest.raises(SecretUnavailableError, match=said):
        ring(Store({"blank": " \n"})).reveal(reference, NOW)


def test_what_a_source_raises_is_named_and_not_told() -> None:
    def broken(reference: Reference, again: bool) -> str:
        raise KeyError("s3cret")

    with pytest.raises(SecretUnavailableError, match="it raised KeyError") as caught:
        Keyring({SCHEME: broken}).reveal(KEY, NOW)
    assert "s3cret" not in caught.value.message


def test_white_space_around_a_secret_is_not_part_of_it() -> None:
    assert ring(Store({"key": " abcd\n"})).reveal(KEY, NOW) == "abcd"


def test_threads_that_need_the_same_secret_wait_for_one_fetch() -> None:
    begun, go_on = threading.Event(), threading.Event()
    fetches: list[str] = []

    def slow(reference: Reference, again: bool) -> str:
        fetches.append(reference.name)
        begun.set()
        assert go_on.wait(30)
        return "aa"

    keyring = Keyring({SCHEME: slow})
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(keyring.reveal, KEY, NOW)
        assert begun.wait(30)
        others = [threads.submit(keyring.reveal, KEY, NOW - 0.001) for _ in range(3)]
        assert not keyring.settled(KEY, NOW)
        go_on.set()
        assert [each.result(30) for each in (first, *others)] == ["aa"] * 4
    assert fetches == ["key"]
    assert keyring.settled(KEY, NOW)


def test_what_is_known_is_told_without_a_fetch() -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    assert keyring.known(KEY) is None
    assert keyring.known(None) is None
    assert store.asked == []
    keyring.reveal(KEY, NOW)
    assert keyring.known(KEY) == "aa"


def test_what_is_forgotten_is_fetched_when_it_is_needed() -> None:
    store = Store({"key": "aa"})
    keyring = ring(store)
    keyring.reveal(KEY, NOW)
    keyring.forget()
    assert keyring.known(KEY) is None
    keyring.reveal(KEY, NOW)
    assert len(store.asked) == 2


@pytest.mark.parametrize("scheme", ["", "a:b", "a/b", "-"])
def test_a_scheme_is_a_word(scheme: str) -> None:
    with pytest.raises(ConfigError, match="it takes letters"):
        register(scheme, Store().fetch)
