"""Middleware that encrypts what the Inngest server keeps: the server stores, and cannot read.

What it writes is what the official package `inngest-encryption` writes, so apps with either read
each other's values: libsodium's secret box around JSON text, in an object that says so.

    {"__ENCRYPTED__": true, "__STRATEGY__": "inngest/libsodium", "data": "<nonce and box, base64>"}

Results are encrypted whole; of the data of events, and of what other functions are called with,
one field: the rest stays readable for the server, which matches and routes by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeAlias

from inngest_sdk.asks import Ask
from inngest_sdk.context import Context, ContextSync
from inngest_sdk.errors import ConfigError, NonRetriableError
from inngest_sdk.events import Event
from inngest_sdk.function import Function
from inngest_sdk.http import dumps
from inngest_sdk.middleware import (
    MiddlewareSync,
    StepMemos,
    TransformOutputResult,
    UninitializedMiddleware,
)

SecretKey: TypeAlias = bytes | str
"""A passphrase, or as bytes the 64 hexadecimal digits of a key of libsodium."""

_MARK = "__ENCRYPTED__"
_STRATEGY = "inngest/libsodium"
_KEY_BYTES = 32
_LIFECYCLE = "inngest/function."  # events about a run carry the event that the run began with


class DecryptionError(NonRetriableError):
    """A value cannot be decrypted with any of the keys."""

    code = "decryption_failed"


class EncryptionMiddleware(MiddlewareSync):
    """Encrypts results and a field of events on their way to the Inngest server, and decrypts them
    on their way back. For sync and async functions; names and arguments are the official ones.

        client = Inngest(app_id="shop", middleware=[EncryptionMiddleware.factory(key)])

    Needs the extra `encryption`.
    """

    reversible: ClassVar[bool] = True

    def __init__(
        self,
        client: Any,
        raw_request: object,
        secret_key: SecretKey,
        *,
        decrypt_only: bool = False,
        event_encryption_field: str = "encrypted",
        fallback_decryption_keys: Sequence[SecretKey] | None = None,
    ) -> None:
        """`decrypt_only` encrypts nothing: for the way into encryption, and out of it.
        `fallback_decryption_keys` decrypt what was encrypted before the key was changed.

        Raises ConfigError for a key that is none.
        """
        super().__init__(client, raw_request)
        self._keyring = _Keyring([secret_key, *(fallback_decryption_keys or ())])
        self._encrypts = not decrypt_only
        self._field = event_encryption_field

    @classmethod
    def factory(
        cls,
        secret_key: SecretKey,
        *,
        decrypt_only: bool = False,
        event_encryption_field: str = "encrypted",
        fallback_decryption_keys: Sequence[SecretKey] | None = None,
    ) -> UninitializedMiddleware:
        """What a client, or a function, takes as middleware. Raises ConfigError at once for a key
        that is none."""

        # Not a partial: its repr would show the keys.
        def make(client: Any, raw_request: object) -> EncryptionMiddleware:
            return cls(
                client,
                raw_request,
                secret_key,
                decrypt_only=decrypt_only,
                event_encryption_field=event_encryption_field,
                fallback_decryption_keys=fallback_decryption_keys,
            )

        make(None, None)
        return make

    def transform_input(
        self, ctx: Context[Any] | ContextSync[Any], function: Function[Any], steps: StepMemos
    ) -> None:
        """Decrypt the events and the memos."""
        ctx.event = self._event(ctx.event)
        ctx.events = [self._event(each) for each in ctx.events]
        for hashed, memo in steps.memos.items():
            if isinstance(memo, dict):
                self._open_memo(memo, f"the result of a step (its hash is {hashed})")

    def transform_step_request(self, ask: Ask) -> Ask:
        """Encrypt what a step tells the server of itself: its arguments, an invoke's payload."""
        if not self._encrypts:
            return ask
        op = ask.op
        if op.kind == "InvokeFunction":
            payload = op.opts["payload"]
            sealed = {**payload, "data": self._sealed_field(payload["data"])}
            op = replace(op, opts={**op.opts, "payload": sealed})
        return replace(ask, op=replace(op, arguments=self._shown(op.arguments)))

    def transform_output(self, result: TransformOutputResult) -> None:
        """Encrypt the result of a step or of the function."""
        has_value = result.error is None and (result.step is None or result.step.op == "StepRun")
        if has_value and self._encrypts:
            try:
                result.output = self._keyring.seal(result.output)
            except (TypeError, ValueError, RecursionError):
                return  # no JSON: the core says so, and sends nothing

    def before_send_events(self, events: list[Event]) -> None:
        """Encrypt the field of each event that has it."""
        if self._encrypts:
            events[:] = [replace(each, data=self._sealed_field(each.data)) for each in events]

    def _sealed_field(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        value = data.get(self._field)
        if value is None or _is_sealed(value):  # by another middleware of this class
            return data
        return {**data, self._field: self._keyring.seal(value)}

    def _shown(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a step as the server may show them; none, if they are not JSON."""
        try:
            return tuple(self._keyring.seal(each) for each in arguments)
        except (TypeError, ValueError, RecursionError):
            return ()

    def _event(self, event: Event[Any]) -> Event[Any]:
        where = f"event {event.name!r}" + (f" (its id is {event.id})" if event.id else "")
        data = self._open_data(event.data, where)
        if event.name.startswith(_LIFECYCLE) and isinstance(data, dict):
            data = self._open_lifecycle(data, where)
        return replace(event, data=data)

    def _open_lifecycle(self, data: dict[str, Any], where: str) -> dict[str, Any]:
        inner = data.get("event")
        if not isinstance(inner, dict) or "data" not in inner:
            return data
        opened = self._open_data(inner["data"], f"{where}, in the event that the run began with")
        return {**data, "event": {**inner, "data": opened}}

    def _open_memo(self, memo: dict[str, Any], where: str) -> None:
        if "name" in memo and "data" in memo:  # a wait's memo is the event (wire.md A10)
            memo["data"] = self._open_data(memo["data"], where)
        elif "data" in memo:
            memo["data"] = self._keyring.open(memo["data"], where)
        elif isinstance(edited := memo.get("input"), list):
            memo["input"] = [self._keyring.open(each, where) for each in edited]

    def _open_data(self, data: Any, where: str) -> Any:
        data = self._keyring.open(data, where)
        if not isinstance(data, Mapping):
            return data
        return {
            key: self._keyring.open(value, f"field {key!r} of {where}")
            for key, value in data.items()
        }


class _Keyring:
    """Some keys: the first encrypts, all decrypt."""

    def __init__(self, secrets: Sequence[SecretKey]) -> None:
        try:
            secret_box = importlib.import_module("nacl.secret").SecretBox
            self._error = importlib.import_module("nacl.exceptions").CryptoError
        except ImportError:
            raise ConfigError(
                "EncryptionMiddleware needs PyNaCl: pip install 'inngest-serverless[encryption]'"
            ) from None
        self._boxes = [secret_box(_key(each)) for each in secrets]

    def seal(self, value: Any) -> dict[str, Any]:
        """The value, encrypted. Raises TypeError or ValueError for what is not JSON."""
        box = bytes(self._boxes[0].encrypt(dumps(value)))
        return {_MARK: True, "__STRATEGY__": _STRATEGY, "data": base64.b64encode(box).decode()}

    def open(self, value: Any, where: str) -> Any:
        """The value, decrypted if it is encrypted. Raises DecryptionError, which says `where`."""
        if not _is_sealed(value):
            return value
        for box in self._boxes:
            try:
                return json.loads(box.decrypt(base64.b64decode(value["data"], validate=True)))
            except (self._error, ValueError):  # no box of this key; no base64, no JSON
                continue
        keys = "the key does not decrypt" if len(self._boxes) == 1 else "none of the keys decrypts"
        raise DecryptionError(
            f"{keys} {where}. Was the key changed? Then give the old one in "
            "fallback_decryption_keys until the runs that began with it have ended."
        )


def _is_sealed(value: object) -> bool:
    """Whether this is a value of ours; what other strategies encrypted is left as it is."""
    return (
        isinstance(value, Mapping)
        and value.get(_MARK) is True
        and value.get("__STRATEGY__") == _STRATEGY
        and isinstance(value.get("data"), str)
    )


def _key(secret: SecretKey) -> bytes:
    """The key that a secret stands for; text and bytes mean what they mean officially."""
    if not secret:
        raise ConfigError("the secret key is empty; take 32 random bytes, or a long passphrase")
    if isinstance(secret, str):
        return hashlib.blake2b(secret.encode(), digest_size=_KEY_BYTES).digest()
    try:
        key = binascii.unhexlify(secret)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            f"a secret key of {len(secret)} bytes is none: as bytes it is {_KEY_BYTES * 2} "
            "hexadecimal digits (secrets.token_hex(32).encode()), as a str any passphrase"
        )
    return key
