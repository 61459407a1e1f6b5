"""Signatures: ours against recorded ones, and everything that must not pass."""

from __future__ import annotations

import pytest

from inngest_sdk import signing
from inngest_sdk.errors import SignatureInvalidError

KEY = "7468697320697320612074657374206b6579"
PREFIXED = f"signkey-prod-{KEY}"
NOW = 1_795_347_346
BODY = b'{"event":{"name":"a/b"}}'

# Recorded from a self-hosted server's Bearer header.
HASHED = "ed30c63423735b44011c49a38c01a8062833420cfb299072e0263c986242556a"
RECORDED_BODY = (
    '{"ctx":{"attempt":0,"disable_immediate_execution":false,"env":"","fn_id":"14d4b2da-1'
    'ca4-5ae3-96bc-a41c7eea0b1b","generation_id":1,"job_id":"2suj42m4aywng","max_attempts'
    '":2,"qi_id":"MnN1ajQybTRheXduZzo6ZGVmYXVsdA==","request_id":"01M81GMWZHXKHWXRPW706WE'
    'V12","run_id":"01M81GMWYFCJCGPXBSVH04MFKN","stack":{"current":0,"stack":[]},"step_id'
    '":"step","use_api":false},"defers":{},"event":{"data":{"big":12345678901234568,"k":1'
    ',"n":1,"nested":{"a":[1,2.5,null,true],"b":1},"u":"é😀","user":"u1"},"id":"01M81GMWVV'
    'FN1HPZADDB0WP7HW","name":"cap/invoker","ts":1795347346299,"user":{}},"events":[{"dat'
    'a":{"big":12345678901234568,"k":1,"n":1,"nested":{"a":[1,2.5,null,true],"b":1},"u":"'
    'é😀","user":"u1"},"id":"01M81GMWVVFN1HPZADDB0WP7HW","name":"cap/invoker","ts":1795347'
    '346299,"user":{}}],"steps":{},"use_api":false,"version":-1}'
)
RECORDED_HEADER = "t=1795347346&s=b0040078c6d6a2d9257b94b4f46295831948bc779f5be38130f9ed6f4b02ab4f"


def test_a_recorded_call_of_a_real_server_verifies() -> None:
    assert signing.verify(RECORDED_BODY.encode(), RECORDED_HEADER, [KEY], NOW) == KEY


@pytest.mark.parametrize("key", [KEY, PREFIXED])
def test_what_we_sign_verifies_with_and_without_the_prefix(key: str) -> None:
    header = signing.sign(PREFIXED, BODY, NOW)

    assert header.startswith(f"t={NOW}&s=")
    assert signing.verify(BODY, header, [key], NOW) == key


def test_the_key_that_signed_is_told_from_the_others() -> None:
    header = signing.sign("beef", BODY, NOW)

    assert signing.verify(BODY, header, ["cafe", "beef", "beef00"], NOW) == "beef"


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_five_minutes_either_way_are_accepted(age: int) -> None:
    assert signing.verify(BODY, signing.sign(KEY, BODY, NOW - age), [KEY], float(NOW)) == KEY


GOOD = signing.sign(KEY, BODY, NOW)
DIGITS = GOOD.partition("&s=")[2]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "no x-inngest-signature header"),
        ("", "not of the form"),
        (f"s={DIGITS}", "not of the form"),
        (f"t=&s={DIGITS}", "not of the form"),
        (f"t=soon&s={DIGITS}", "not of the form"),
        (f"t={NOW}", "not of the form"),
        (f"t={NOW}&s=", "not of the form"),
        (f"t={NOW}&s={DIGITS[:-1]}", "not of the form"),
        (f"t={NOW}&s={DIGITS}0", "not of the form"),
        (f"t={NOW}.5&s={DIGITS}", "not of the form"),
        (f"t=-{NOW}&s={DIGITS}", "not of the form"),
        (f"t=\u0661&s={DIGITS}", "not of the form"),
        (f"{GOOD}\n", "not of the form"),
        (f"{GOOD}, {GOOD}", "not of the form"),
        (signing.sign(KEY, BODY, NOW - 301), "301 s old"),
        (signing.sign(KEY, BODY, NOW + 301), "-301 s old"),
        (f"t={NOW - 1}&s={DIGITS}", "another key, or for another body"),
        (f"t={NOW}&s={'0' * 64}", "another key, or for another body"),
        (signing.sign("beef", BODY, NOW), "another key, or for another body"),
        (signing.sign(KEY, BODY + b" ", NOW), "another key, or for another body"),
    ],
)
def test_anything_else_is_refused_with_a_reason(header: str | None, reason: str) -> None:
    with pytest.raises(SignatureInvalidError) as caught:
        signing.verify(BODY, header, [KEY], NOW)

    assert reason in caught.value.message
    assert caught.value.status == 401


def test_without_keys_nothing_verifies() -> None:
    with pytest.raises(SignatureInvalidError):
        signing.verify(BODY, GOOD, [], NOW)


def test_an_upper_case_signature_is_the_same_signature() -> None:
    assert signing.verify(BODY, f"t={NOW}&s={DIGITS.upper()}", [KEY], NOW) == KEY


def test_a_hashed_key_is_the_recorded_one_and_keeps_its_prefix() -> None:
    assert signing.hashed(KEY) == HASHED
    assert signing.hashed(PREFIXED) == f"signkey-prod-{HASHED}"
