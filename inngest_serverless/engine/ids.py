"""Identifiers: ULIDs in order, ids fixed by a sender's seed, job ids that are always the same."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def ulid(ms: int, entropy: bytes) -> str:
    """Encode a time and ten bytes as 26 characters that sort by time."""
    return _encode((ms & (1 << 48) - 1) << 80 | int.from_bytes(entropy, "big"), CROCKFORD, 26)


def ulid_ms(text: str) -> int:
    """The time inside a ULID; ValueError if it is none."""
    if len(text) != 26 or text[0] > "7":
        raise ValueError(f"not a ULID: {text!r}")
    return sum(CROCKFORD.index(char) << 5 * (9 - place) for place, char in enumerate(text[:10]))


class Ulids:
    """Makes ULIDs that rise strictly, within a millisecond too and if the clock steps back."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._last_ms = -1
        self._entropy = 0

    def new(self, now_ms: int) -> str:
        """The next id."""
        if now_ms > self._last_ms:
            # The top bit stays free, so that counting up never overflows.
            self._entropy = int.from_bytes(self._random(10), "big") >> 1
            self._last_ms = now_ms
        else:
            self._entropy += 1
        return ulid(self._last_ms, self._entropy.to_bytes(10, "big"))


def seeded(seed: str, count: int) -> list[str]:
    """The ids of `count` events sent with `x-inngest-event-id-seed: <ms>,<base64 of 10 bytes>`.

    A repeated request so gives its events the same ids (engine.md 1.2).
    """
    ms_text, _, entropy_text = seed.partition(",")
    try:
        ms, entropy = int(ms_text), base64.b64decode(entropy_text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"not an event id seed: {seed!r}") from None
    if len(entropy) != 10 or not 0 <= ms < 1 << 48:
        raise ValueError(f"not an event id seed: {seed!r}")
    low = int.from_bytes(entropy[6:], "big")
    return [
        ulid(ms, entropy[:6] + ((low + place) % (1 << 32)).to_bytes(4, "big"))
        for place in range(1, count + 1)
    ]


def job_id(run_id: str, kind: str, key: str = "") -> str:
    """The id of a piece of work: the same work has the same id, so it is queued once."""
    digest = hashlib.sha256(f"{run_id}\0{kind}\0{key}".encode()).digest()
    return _encode(int.from_bytes(digest[:8], "big"), BASE36, 1)


def trace_uuid(text: str) -> str:
    """A UUID-shaped name for `text`, always the same."""
    raw = hashlib.sha256(text.encode()).hexdigest()
    return f"{raw[:8]}-{raw[8:12]}-5{raw[13:16]}-a{raw[17:20]}-{raw[20:32]}"


def _encode(number: int, alphabet: str, least: int) -> str:
    base, digits = len(alphabet), ""
    while number:
        number, digit = divmod(number, base)
        digits = alphabet[digit] + digits
    return digits.rjust(least, alphabet[0])
