"""Who may call in cloud mode, and how answers prove whose they are (wire.md A5, A11)."""

from __future__ import annotations

import pytest

from tests.contract.doors import KEY, Door, Reply, call_body, signature, target, verifies

BODY = call_body("9,90 €")
TARGET = target("value")


def is_refused(reply: Reply) -> bool:
    """Whether a stranger learns nothing but that the refusal is an SDK's."""
    handled = reply.headers.get("x-inngest-sdk-handled") == "true"
    return reply.status == 401 and handled and "x-inngest-sdk" not in reply.headers


def test_a_signed_call_runs(door: Door) -> None:
    reply = door.cloud.ask_signed("POST", TARGET, BODY)
    assert (reply.status, reply.json()) == (200, "9,90 €")


def test_an_unsigned_call_is_refused(door: Door) -> None:
    assert is_refused(door.cloud.ask("POST", TARGET, BODY))


def test_a_call_signed_with_another_key_is_refused(door: Door) -> None:
    wrong = signature(BODY, key=KEY.replace("ab", "cd"))
    assert is_refused(door.cloud.ask("POST", TARGET, BODY, wrong))


@pytest.mark.parametrize("age", [3600, -3600], ids=["an hour old", "of the next hour"])
def test_a_signature_of_another_time_is_refused(door: Door, age: int) -> None:
    assert is_refused(door.cloud.ask("POST", TARGET, BODY, signature(BODY, age=age)))


def test_a_body_that_was_changed_is_refused(door: Door) -> None:
    changed = BODY.replace(b"9,90", b"0,90")
    assert is_refused(door.cloud.ask("POST", TARGET, changed, signature(BODY)))


def test_what_is_no_signature_is_refused(door: Door) -> None:
    header = {"x-inngest-signature": "t=now&s="}
    assert is_refused(door.cloud.ask("POST", TARGET, BODY, header))


def test_a_wrong_signature_is_refused_before_the_function_is_looked_for(door: Door) -> None:
    assert is_refused(door.cloud.ask("POST", target("nowhere"), b"{", signature(BODY)))


def test_a_signature_is_checked_over_the_bytes_that_came(door: Door) -> None:
    body = b"\r\n " + BODY + b"\n"
    assert door.cloud.ask_signed("POST", TARGET, body).json() == "9,90 €"


def test_a_trust_probe_is_answered_with_a_signature(door: Door) -> None:
    reply = door.cloud.ask_signed("POST", "probe=trust")
    assert (reply.status, reply.json()) == (200, {})
    assert verifies(reply)


def test_an_unsigned_trust_probe_is_refused(door: Door) -> None:
    assert is_refused(door.cloud.ask("POST", "probe=trust"))


def test_the_answer_to_a_signed_call_is_signed(door: Door) -> None:
    reply = door.cloud.call("value", "9,90 €")
    assert (reply.status, reply.envelope) == (200, None)
    assert verifies(reply)
