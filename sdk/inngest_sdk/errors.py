"""Every error of the core, one tree. Knows nothing of HTTP beyond a status number.

Error
├── NonRetriableError            user code: stop, do not try again
│   ├── OutputUnserializableError    a result is not JSON
│   ├── MemoMisfitError              a value on record is not of the type that is asked for
│   ├── EventInvalidError            the data of an event is not of the event's type
│   ├── AtMostOnceError              a step at_most_once may have run, and nobody saw its end
│   ├── FetchStatusError             what step.fetch got is no success (`fetching`)
│   ├── SagaError                    a saga failed, and so did some of its undos
│   ├── StepElsewhereError           a step was called on another thread than the function's
│   └── StepNestedError              a step was called inside another step's body
├── RetryAfterError              user code: try again, not before a given time
├── StepTimeoutError             a step took longer than its options allow; tried again
├── StepError                    a step failed for good; raised from `ctx.step.*`, catchable
├── FunctionConfigInvalidError   the developer's fault: an option of a function is wrong
├── ConfigError                  the deployer's fault: an argument or variable is wrong
├── SendEventsError              some events were not accepted; carries the ids that were
├── SendSignalError              a signal was not delivered, as far as is known
│   └── SignalNotAwaitedError        ... for nobody waits for it; also a NonRetriableError
├── RealtimeError                a message was not published, or a token not given
├── UnreachableError             the Inngest server could not be reached
└── ProtocolError                this request cannot be answered as asked; has a status
    ├── BodyInvalidError             400, the caller's fault
    ├── QueryMissingError            400, the caller's fault
    ├── SignatureInvalidError        401, the caller's fault
    ├── ApprovalLinkInvalidError     403, the visitor's fault: a link that is not ours
    ├── ApprovalExpiredError         410, the visitor comes too late
    ├── SigningKeyMissingError       500, the deployer's fault
    ├── DevModeInCloudError          500, the deployer's fault
    ├── ServerKindMismatchError      400, the deployer's fault
    ├── FunctionNotFoundError        404, the app changed since it was registered
    ├── MethodNotAllowedError        405, the caller's fault
    ├── BodyTooLargeError            413, over a limit of the platform
    ├── StepNotFoundError            500, the targeted step is no longer in the function
    ├── StateUnavailableError        500, the run's state could not be fetched
    ├── SecretUnavailableError       500, a key could not be fetched from where it lies
    ├── InterruptSwallowedError      500, user code kept our interrupt for itself
    ├── ResponseTooLargeError        500, the answer is over a limit of the platform
    └── RegistrationFailedError      the server refused the app; status as the server's
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any


class Error(Exception):
    """Base of everything this package raises."""

    code = "error"

    def __init__(self, message: str | None = None) -> None:
        self.message: str = message if message is not None else (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class NonRetriableError(Error):
    """Raise in a function or a step to fail it at once, however many retries are left."""

    code = "non_retriable_error"

    def __init__(self, message: str | None = None, quiet: bool = False) -> None:
        super().__init__(message)
        self.quiet = quiet


class OutputUnserializableError(NonRetriableError):
    """The result cannot be written as JSON. `problem` says where and why, if more is known."""

    code = "output_unserializable"

    def __init__(self, message: str | None = None, problem: str | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class MemoMisfitError(NonRetriableError):
    """A value on record is not of the type that is asked for now. `problem` says where and why."""

    code = "memo_misfit"

    def __init__(self, message: str | None = None, problem: str | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class EventInvalidError(NonRetriableError):
    """The data of an event is not of the event's type."""

    code = "event_invalid"


class AtMostOnceError(NonRetriableError):
    """A step that runs at most once was begun, and nobody saw its end."""

    code = "step_at_most_once"


class StepElsewhereError(NonRetriableError):
    """A step was called on another thread than the function's."""

    code = "step_elsewhere"


class StepNestedError(NonRetriableError):
    """A step was called inside another step."""

    code = "step_nested"


class SagaError(NonRetriableError):
    """A saga failed, and so did some of its undos; `failed` has their errors by step id.

    `__cause__` is what made the saga fail.
    """

    code = "saga_failed"

    def __init__(self, message: str, failed: Mapping[str, StepError]) -> None:
        super().__init__(message)
        self.failed: dict[str, StepError] = dict(failed)


class RetryAfterError(Error):
    """Raise in a function or a step to have it tried again, but not before `retry_after`.

    `retry_after` is milliseconds as an int, a timedelta, or a datetime (naive means UTC).
    The server clips the wait to 1 second … 24 hours (wire.md A7).
    """

    code = "retry_after_error"

    def __init__(
        self,
        message: str | None,
        retry_after: int | datetime.timedelta | datetime.datetime,
        quiet: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.quiet = quiet


class StepTimeoutError(Error):
    """A step took longer than its options allow."""

    code = "step_timeout"


class StepError(Error):
    """A step failed for good. Catch it to go on without the step's result.

    `name`, `message` and `stack` are those of the error inside the step; `__cause__` is that
    error's own cause, again as a StepError, where the step reported one. `data` is what the other
    side answered, of a request that the server made.
    """

    code = "step_error"

    def __init__(
        self, message: str, name: str = "Error", stack: str | None = None, data: Any = None
    ) -> None:
        super().__init__(message)
        self.name = name
        self.stack = stack
        self.data = data


class FunctionConfigInvalidError(Error):
    """An option of a function is wrong."""

    code = "function_config_invalid"


class ConfigError(Error):
    """An argument or an environment variable is wrong."""

    code = "config_invalid"


class SendEventsError(Error):
    """Not every event was accepted. `ids` are those of the events that were, in order."""

    code = "send_events_error"

    def __init__(self, message: str, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids: list[str] = list(ids)


class SendSignalError(Error):
    """A signal was not delivered, as far as is known."""

    code = "send_signal_error"


class SignalNotAwaitedError(SendSignalError, NonRetriableError):
    """No run waits for the signal: not yet, not any more, or under another name.

    Not retriable by itself: whether somebody will wait soon only the sender can know. Who does,
    catches this and raises RetryAfterError.
    """

    code = "signal_not_awaited"


class RealtimeError(Error):
    """A message was not published, or a subscription token not given."""

    code = "realtime_error"


class UnreachableError(Error):
    """The Inngest server could not be reached."""

    code = "unreachable"


class ProtocolError(Error):
    """This request cannot be answered as asked."""

    status = 500
    code = "protocol_error"
    retriable = True  # whether the same call may succeed later, for instance after a deploy

    @property
    def details(self) -> Mapping[str, Any]:
        """Extra fields of the JSON answer."""
        return {}


class BodyInvalidError(ProtocolError):
    """The request's body is not what the protocol says."""

    status = 400
    code = "body_invalid"


class QueryMissingError(ProtocolError):
    """The request lacks a query parameter."""

    status = 400
    code = "query_param_missing"


class SignatureInvalidError(ProtocolError):
    """The request's signature is missing, wrong or expired. Its answer never says which."""

    status = 401
    code = "sig_verification_failed"


class ApprovalLinkInvalidError(ProtocolError):
    """The link of an approval was not made by this app. Its answer never says more."""

    status = 403
    code = "approval_link_invalid"


class ApprovalExpiredError(ProtocolError):
    """The link of an approval has expired."""

    status = 410
    code = "approval_expired"


class SigningKeyMissingError(ProtocolError):
    """Cloud mode needs a signing key."""

    code = "signing_key_missing"


class DevModeInCloudError(ProtocolError):
    """An app in dev mode, which takes calls from anybody, runs in a cloud."""

    code = "dev_mode_in_cloud"


class ServerKindMismatchError(ProtocolError):
    """A dev server called a cloud app, or the other way round."""

    status = 400
    code = "server_kind_mismatch"


class FunctionNotFoundError(ProtocolError):
    """The app has no such function."""

    status = 404
    code = "function_not_found"


class MethodNotAllowedError(ProtocolError):
    """Only GET, POST and PUT mean something here."""

    status = 405
    code = "method_not_allowed"


class BodyTooLargeError(ProtocolError):
    """The request's body is over the limit."""

    status = 413
    code = "body_too_large"


class StepNotFoundError(ProtocolError):
    """The server asked for a step that the function no longer reaches (wire.md Q1)."""

    code = "step_not_found"

    def __init__(self, message: str, requested: str, found: Sequence[str]) -> None:
        super().__init__(message)
        self.requested = requested
        self.found: list[str] = list(found)

    @property
    def details(self) -> Mapping[str, Any]:
        """What was asked for and what was there, in the shape that other SDKs answer."""
        return {
            "error": self.message,
            "requestedStep": self.requested,
            "foundSteps": self.found[:25],
            "totalFoundSteps": len(self.found),
        }


class StateUnavailableError(ProtocolError):
    """The run's events or steps could not be fetched from the server."""

    code = "state_unavailable"


class SecretUnavailableError(ProtocolError):
    """A key could not be fetched from the secret store that it lies in."""

    code = "secret_unavailable"


class InterruptSwallowedError(ProtocolError):
    """User code caught the interrupt that ends a call early, and went on."""

    code = "interrupt_swallowed"
    retriable = False


class ResponseTooLargeError(ProtocolError):
    """The answer is larger than the platform can carry."""

    code = "response_too_large"
    retriable = False


class RegistrationFailedError(ProtocolError):
    """The Inngest server refused the app."""

    code = "registration_failed"

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status
