"""Secrets that settings refer to: fetched when they are needed, and kept for a while.

Who fetches is registered from outside, by scheme; nothing here knows a cloud. What is kept belongs
to the process, for all its clients and threads:

    younger than the reference's max_age     it counts
    as old                                   fetched again; if that fails, it counts no longer
    refused by a signature (`again`)         fetched again, but AGAIN_SECONDS after the last time
                                             at the soonest; if that fails, it counts on
    could not be fetched                     FAILED_SECONDS later at the soonest

Strangers with bad signatures can so cause a fetch now and then, whatever they send.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TypeAlias

from inngest_sdk import config
from inngest_sdk.config import Key, Reference, Secret
from inngest_sdk.errors import ConfigError, SecretUnavailableError

Source: TypeAlias = Callable[[Reference, bool], str]
"""Fetches a secret, blocking, from any thread; True if what it told last does not seem to be right
any more, so that a cache of its own is to be passed by. Raises SecretUnavailableError with what
kept it from that and what to do."""

AGAIN_SECONDS = config.MIN_SECRET_AGE
FAILED_SECONDS = 5.0

LOG = logging.getLogger("inngest")


class Keyring:
    """The secrets of a process, and who fetches them."""

    def __init__(self, sources: Mapping[str, Source] | None = None) -> None:
        self._sources = dict(sources or {})
        self._held: dict[Reference, _Held] = {}

    def register(self, scheme: str, source: Source) -> None:
        """Have this source fetch what references of a scheme name, from the next fetch on."""
        self._sources[scheme] = source

    def reveal(self, reference: Reference, now: float, again: bool = False) -> str:
        """Tell the secret, blocking while it is fetched if it has to be; `now` is Unix seconds.
        `again` says that what is kept does not seem to be right.

        Raises SecretUnavailableError.
        """
        held = self._held.setdefault(reference, _Held())
        with held.lock:  # the others wait for the one that fetches
            if held.counts(reference, now) and not (again and held.may_ask(now, AGAIN_SECONDS)):
                return held.secret.reveal()
            if held.failure is not None and not held.may_ask(now, FAILED_SECONDS):
                raise SecretUnavailableError(held.failure)
            held.asked = now
            try:
                held.secret = self._fetched(reference, again)
            except SecretUnavailableError as error:
                held.failure = error.message
                if not held.counts(reference, now):
                    raise
                LOG.warning("inngest: %s; the one that was fetched before counts on", error.message)
            else:
                held.fetched, held.failure = now, None
            return held.secret.reveal()

    def settled(self, reference: Reference, now: float) -> bool:
        """Whether `reveal` would tell the secret at once."""
        held = self._held.get(reference)
        return held is not None and held.counts(reference, now) and not held.lock.locked()

    def known(self, key: Key | None) -> str | None:
        """The secret, if there is no need to fetch it, however old it is."""
        if not isinstance(key, Reference):
            return None if key is None else key.reveal()
        held = self._held.get(key)
        return held.secret.reveal() if held is not None and held.fetched is not None else None

    def forget(self) -> None:
        """Keep nothing of what was fetched: a snapshot of this process is about to be taken."""
        self._held.clear()

    def _fetched(self, reference: Reference, again: bool) -> Secret:
        source = self._sources.get(reference.scheme)
        if source is None:
            problem = f"nothing is registered that fetches {reference.scheme!r}"
            raise _unavailable(reference, f"{problem}: import inngest_serverless.secrets")
        try:
            return reference.read(source(reference, again))
        except SecretUnavailableError as error:
            raise _unavailable(reference, error.message) from error.__cause__
        except ValueError as error:  # of `read`, which does not show it; its cause might
            raise _unavailable(reference, f"what lies there {error}") from None
        except Exception as error:
            raise _unavailable(reference, f"it raised {type(error).__name__}") from error


class _Held:
    """What is kept of one secret; times are Unix seconds. Changed by who has the lock."""

    __slots__ = ("asked", "failure", "fetched", "lock", "secret")

    def __init__(self) -> None:
        self.lock = Lock()
        self.secret = Secret("")
        self.fetched: float | None = None
        self.asked: float | None = None
        self.failure: str | None = None

    def counts(self, reference: Reference, now: float) -> bool:
        # Both ways: threads ask in another order than they looked at the clock.
        return self.fetched is not None and abs(now - self.fetched) < reference.max_age

    def may_ask(self, now: float, seconds: float) -> bool:
        return self.asked is None or abs(now - self.asked) >= seconds


def _unavailable(reference: Reference, problem: str) -> SecretUnavailableError:
    return SecretUnavailableError(
        f"{reference.setting} refers to {str(reference)!r}, which could not be fetched: {problem}"
    )


keyring: Keyring = Keyring()
"""What the process has."""


def register(scheme: str, source: Source) -> None:
    """Have references such as "<scheme>:<name>" fetched by this source, in clients that are made
    from now on. Raises ConfigError for what no reference can begin with."""
    if not scheme or not scheme.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"the scheme is {scheme!r}; it takes letters, digits, '-' and '_'")
    keyring.register(scheme, source)
    config.schemes.add(scheme)


def forget() -> None:
    """Keep no secret that was fetched; each is fetched again when it is needed."""
    keyring.forget()
