"""Waiting for signals and sending them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from inngest_sdk import signing
from inngest_sdk.config import Config, Secret
from inngest_sdk.drive import drive
from inngest_sdk.effects import revealed
from inngest_sdk.errors import (
    ConfigError,
    FunctionConfigInvalidError,
    NonRetriableError,
    SendSignalError,
    SignalNotAwaitedError,
    UnreachableError,
)
from inngest_sdk.execution import Replay, Report, decide
from inngest_sdk.failure import is_retriable
from inngest_sdk.http import Response
from inngest_sdk.signals import (
    Signal,
    send_signal_flow,
    signal_from,
    signal_wait_op,
)
from inngest_sdk.steps import StepIds, op_json
from tests.sdk.exchange import CLOUD, DEV, Exchange, json_answer

TAKEN = json_answer(200, {"data": {"run_id": "01RUN"}})
NOBODY = json_answer(404, {"error": "no signal", "data": None, "status": 404})
BUSY = Response(503)


def test_a_wait_travels_with_signal_timeout_and_conflict() -> None:
    step = StepIds().next("approval")
    op = signal_wait_op("approval", "task/1", "30s", "replace")

    assert op_json(step, op, op.kind) == {
        "op": "WaitForSignal",
        "id": step.hashed,
        "name": "task/1",
        "displayName": "approval",
        "userland": {"id": "approval"},
        "opts": {"signal": "task/1", "timeout": "30s", "conflict": "replace"},
        "data": None,
    }


@pytest.mark.parametrize(
    ("memo", "signal"),
    [
        # As a real server gave it to the official TypeScript SDK.
        (
            {"data": {"data": {"approved": True}, "signal": "task/1"}},
            Signal("task/1", {"approved": True}),
        ),
        ({"data": {"data": None, "signal": "task/1"}}, Signal("task/1", None)),
        ({"data": {"signal": "task/1"}}, Signal("task/1", None)),
        (None, None),
    ],
)
def test_a_wait_ends_with_the_signal_or_with_none(memo: object, signal: Signal | None) -> None:
    step = StepIds().next("approval")
    op = signal_wait_op("approval", "task/1", "30s")

    first = decide(op, step.hashed, {}, target=None, planning=False)
    replay = decide(op, step.hashed, {step.hashed: memo}, target=None, planning=False)

    assert first == Report()
    assert isinstance(replay, Replay)
    assert signal_from("approval", replay.value) == signal


@pytest.mark.parametrize("memo", [5, "x", [], {}, {"signal": 5}, {"name": "a/b", "data": {}}])
def test_the_memo_of_another_step_is_no_signal(memo: object) -> None:
    with pytest.raises(NonRetriableError, match="step 'approval' waits for a signal, but"):
        signal_from("approval", memo)


@pytest.mark.parametrize(
    ("signal", "conflict", "message"),
    [
        ("", "fail", "step 'w': the name of the signal is ''; it takes a text"),
        ("  ", "fail", "is '  '"),
        (5, "fail", "is 5"),
        ("s", "ignore", "step 'w': conflict is 'ignore'; it takes 'fail' or 'replace'"),
    ],
)
def test_a_wait_that_makes_no_sense_is_refused(signal: Any, conflict: Any, message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        signal_wait_op("w", signal, "30s", conflict)

    assert message in caught.value.message


def test_a_signal_goes_to_the_server_and_comes_back_as_the_runs_id() -> None:
    played = Exchange(send_signal_flow(DEV, "task/1", {"approved": True}), TAKEN)

    (request,) = played.requests
    assert played.result == "01RUN"
    assert (request.method, request.url) == ("POST", "http://dev:8288/v1/signals")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-inngest-sdk"].startswith("inngest-serverless:v")
    assert request.headers.keys().isdisjoint({"authorization", "x-inngest-env"})
    assert json.loads(request.body) == {"signal": "task/1", "data": {"approved": True}}


def test_in_the_cloud_the_signing_key_is_sent_and_then_its_fallback() -> None:
    flow = send_signal_flow(CLOUD, "task/1")

    played = Exchange(flow, json_answer(401, {"error": "unauthorized"}), TAKEN)

    keys = [signing.hashed(key) for key in drive(revealed(CLOUD.signing_keys))]
    assert [each.headers["authorization"] for each in played.requests] == [
        f"Bearer {key}" for key in keys
    ]
    assert played.requests[0].url == "https://api.inngest.com/v1/signals"


def test_a_branch_environment_is_named() -> None:
    config = Config(signing_key=Secret("ab12"), env="branch")

    played = Exchange(send_signal_flow(config, "task/1"), TAKEN)

    assert played.requests[0].headers["x-inngest-env"] == "branch"


def test_cloud_mode_without_a_key_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="INNGEST_SIGNING_KEY"):
        next(send_signal_flow(Config(), "task/1"))


@pytest.mark.parametrize("trouble", [UnreachableError("no route"), BUSY, Response(429)])
def test_a_trouble_that_may_pass_is_waited_out(trouble: Response | Exception) -> None:
    played = Exchange(send_signal_flow(DEV, "task/1"), *[trouble] * 4, TAKEN)

    assert played.result == "01RUN"
    assert played.pauses == [0.1, 0.2, 0.4, 0.8]


def test_a_signal_that_nobody_waits_for_says_so_and_is_not_tried_again() -> None:
    with pytest.raises(SignalNotAwaitedError) as caught:
        Exchange(send_signal_flow(DEV, "task/1"), NOBODY)

    assert caught.value.message == (
        "no run waits for signal 'task/1'. A signal is not kept: send it once the run "
        "has reached its wait, or send an event"
    )
    assert not is_retriable(caught.value)
    assert isinstance(caught.value, SendSignalError)


def test_after_a_lost_answer_nobody_may_wait_because_the_signal_has_arrived() -> None:
    with pytest.raises(SignalNotAwaitedError, match=r"may have reached a run: this was number 2"):
        Exchange(send_signal_flow(DEV, "task/1"), UnreachableError("timed out"), NOBODY)


def test_after_five_tries_in_vain_an_unreachable_server_is_told() -> None:
    with pytest.raises(SendSignalError, match=r"'task/1' was not sent.*: no route, in 5 tries"):
        Exchange(send_signal_flow(DEV, "task/1"), *[UnreachableError("no route")] * 5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (json_answer(400, {"error": "bad signal"}), "answered 400: bad signal"),
        (json_answer(403, {"error": "no"}), "answered 403: no; check INNGEST_SIGNING_KEY"),
        (Response(404, {}, b"<html>"), 'an Inngest server answers: "<html>"; check INNGEST_API_'),
        (Response(404), "check INNGEST_API_BASE_URL"),
        (Response(200, {}, b"["), "not what an Inngest server answers"),
        (json_answer(200, [1]), "not what an Inngest server answers"),
        (json_answer(200, {"data": {}}), "not what an Inngest server answers"),
        (json_answer(200, {"data": {"run_id": ""}}), "not what an Inngest server answers"),
    ],
)
def test_a_refusal_or_an_answer_that_makes_no_sense_is_no_success(
    answer: Response, message: str
) -> None:
    with pytest.raises(SendSignalError) as caught:
        Exchange(send_signal_flow(DEV, "task/1"), answer)

    assert message in caught.value.message
    assert not isinstance(caught.value, SignalNotAwaitedError)


@pytest.mark.parametrize(
    ("signal", "data", "message"),
    [
        ("", None, "the name of the signal is ''"),
        (5, None, "the name of the signal is 5"),
        ("s", {1, 2}, "signal 's' is not JSON: Object of type set"),
        ("s", float("nan"), "signal 's' is not JSON"),
        ("\ud800", None, "is not JSON"),
        ("s", "x" * 4_194_303, "signal 's' has 4,194,305 bytes of data; a step takes 4,194,304"),
    ],
)
def test_a_signal_that_cannot_be_sent_is_not(signal: object, data: object, message: str) -> None:
    with pytest.raises(SendSignalError) as caught:
        next(send_signal_flow(DEV, cast(str, signal), data))

    assert message in caught.value.message
    assert caught.value.message.endswith("nothing was sent")


def test_the_largest_signal_is_sent() -> None:
    flow = send_signal_flow(DEV, "s", "x" * 4_194_302)

    assert Exchange(flow, TAKEN).result == "01RUN"
