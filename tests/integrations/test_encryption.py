"""The server keeps what it cannot read, in the form of the official package."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from inngest_encryption import EncryptionMiddleware as Official
from nacl.secret import SecretBox

from inngest_sdk.steps import hash_id
from inngest_serverless import ConfigError, Event, MiddlewareSync, SendEventsError, StepMemos
from inngest_serverless.integrations.encryption import EncryptionMiddleware
from tests.sdk.play import Mode, Played, app, both, define
from tests.sdk.test_checkpoint import WHO, Server

Steps = Generator[Any, Any, Any]
KEY = "my-secret-key"
HEX_KEY = b"0123456789abcdef" * 4
ENCRYPTION = EncryptionMiddleware.factory(KEY)


def box(key: str = KEY) -> SecretBox:
    return SecretBox(hashlib.blake2b(key.encode(), digest_size=32).digest())


def sealed(value: Any, key: str = KEY) -> dict[str, Any]:
    data = base64.b64encode(bytes(box(key).encrypt(json.dumps(value).encode()))).decode()
    return {"__ENCRYPTED__": True, "__STRATEGY__": "inngest/libsodium", "data": data}


def opened(value: Any) -> Any:
    assert value.keys() == {"__ENCRYPTED__", "__STRATEGY__", "data"}
    return json.loads(box().decrypt(base64.b64decode(value["data"])))


def played(mode: Mode, body: Any, *middleware: Any, **options: Any) -> Played:
    return define(both(mode, body), app(middleware=middleware or (ENCRYPTION,), **options))


def two_steps(ctx: Any) -> Steps:
    who = yield ctx.step.run("find", lambda: {"phone": "867-5309", "n": 1.5, "none": None})
    same = yield ctx.step.run("same", lambda: who)
    return [who, same == who]


def test_results_are_encrypted_for_the_server_and_plain_for_the_function(mode: Mode) -> None:
    run = played(mode, two_steps)
    found = {"phone": "867-5309", "n": 1.5, "none": None}
    assert opened(run.finish()) == [found, True]
    assert opened(run.steps[hash_id("find")]["data"]) == found
    assert not any(b"867-5309" in answer.body for answer in run.answers)


def test_a_function_goes_on_after_a_step_whose_result_is_encrypted(
    mode: Mode, server: Server
) -> None:
    run = played(mode, two_steps, api_base_url=server.url)
    run.now = time.time()
    answer = run.call(ctx=WHO)
    assert (answer.status, opened(json.loads(answer.body))[1]) == (200, True)
    assert server.saved == [["find"], ["same"]]
    assert "867-5309" not in json.dumps(server.bodies)


# Written by inngest-encryption 0.1.0 with the passphrase.
RECORDED = [
    (None, "dDWBDYW70BtHQrAEsQh0dZ9CbafOg9AAzHm3ioY1J+qzTQ4BBfnCgOQKPvA="),
    (1.5, "CupJZRyxehoF+fcZTv7V4DpNhgpL0OEdbEGEJdRmO2LW5CUKAQ5lc4l1qw=="),
    ({"a": 1}, "Yzr/pyjjVo2KmFV9khnA/BNnnQSubvRLFvtdnB1GiSaBSxzfHva3OhuY5UYFeccc"),
    (
        "é\u2028",
        "A/bL4Kqw/RdPPDd9eVfrQDdLB/BpIlRF5cyKpHNh9GD8f3KF7QBu2l0eraddaWXRWf5gb1Bs",
    ),
]


@pytest.mark.parametrize(("value", "data"), RECORDED)
def test_values_of_the_official_package_are_read(value: Any, data: str) -> None:
    def f(ctx: Any) -> Steps:
        return [(yield ctx.step.run("a", lambda: None)) == value, ctx.event.data["encrypted"]]

    mark = {"__ENCRYPTED__": True, "__STRATEGY__": "inngest/libsodium", "data": data}
    run = played("sync", f)
    run.memo({"id": hash_id("a")}, {"data": mark})
    event = {"name": "a/b", "data": {"encrypted": mark}}
    answer = run.call(event=event, events=[event])
    assert opened(json.loads(answer.body)) == [True, value]


def official(key: Any, **options: Any) -> Any:
    return Official(SimpleNamespace(), None, key, **options)  # type: ignore[arg-type]  # it looks at no client


def theirs(key: Any, value: Any) -> Any:
    """The value as the official package encrypts it."""
    step = SimpleNamespace(id="s", op="StepRun", opts=None)
    result = SimpleNamespace(error=None, output=value, has_output=lambda: True, step=step)
    official(key).transform_output(result)
    return result.output


def read_by_them(key: Any, value: Any) -> Any:
    """The memo as the official package decrypts it."""
    memo = SimpleNamespace(data=value, error=None)
    steps = SimpleNamespace(size=1, values=lambda: iter([memo]))
    event = Event(name="a/b")
    context = SimpleNamespace(event=event, events=[event])
    official(key).transform_input(context, None, steps)
    return memo.data


@pytest.mark.parametrize("key", [KEY, "clé", HEX_KEY])
@pytest.mark.parametrize("value", [None, True, 7, "é", [1, {"a": None}]])
def test_the_official_package_and_ours_read_each_others_values(key: Any, value: Any) -> None:
    def f(ctx: Any) -> Steps:
        assert (yield ctx.step.run("a", lambda: None)) == value
        return (yield ctx.step.run("b", lambda: value))

    run = played("sync", f, EncryptionMiddleware.factory(key))
    run.memo({"id": hash_id("a")}, {"data": theirs(key, value)})
    [op] = run.ops()
    assert op["data"] != value
    assert read_by_them(key, op["data"]) == value


def test_values_under_the_old_key_are_read_and_new_ones_have_the_new_key(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        old = yield ctx.step.run("old", lambda: None)
        return (yield ctx.step.run("new", lambda: old + 1))

    rotated = EncryptionMiddleware.factory(KEY, fallback_decryption_keys=["other", "older"])
    run = played(mode, f, rotated)
    run.memo({"id": hash_id("old")}, {"data": sealed(41, "older")})
    assert opened(run.finish()) == 42
    assert opened(run.steps[hash_id("new")]["data"]) == 42


def test_a_result_under_an_unknown_key_is_a_final_error_without_secrets(mode: Mode) -> None:
    run = played(mode, two_steps)
    value = sealed({"phone": "867-5309"}, "another")
    run.memo({"id": hash_id("find")}, {"data": value})
    answer = run.call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    error = json.loads(answer.body)
    assert error["name"] == "DecryptionError"
    assert error["message"].startswith(
        f"the key does not decrypt the result of a step (its hash is {hash_id('find')})."
    )
    assert KEY not in str(error) and value["data"] not in str(error)


def test_an_event_under_an_unknown_key_is_a_final_error_that_names_the_field(mode: Mode) -> None:
    keys = EncryptionMiddleware.factory(KEY, fallback_decryption_keys=[HEX_KEY])
    event = {"name": "a/b", "id": "e7", "data": {"encrypted": sealed(1, "another")}}
    answer = played(mode, two_steps, keys).call(event=event, events=[event])
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert json.loads(answer.body)["message"].startswith(
        "none of the keys decrypts field 'encrypted' of event 'a/b' (its id is e7)."
    )


@pytest.mark.parametrize("data", ["no base64!", "", "YWJj"])
def test_a_damaged_value_is_a_final_error_too(data: str) -> None:
    run = played("sync", two_steps)
    run.memo({"id": hash_id("find")}, {"data": {**sealed(1), "data": data}})
    assert json.loads(run.call().body)["name"] == "DecryptionError"


def test_the_events_of_a_batch_are_decrypted(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        assert ctx.event.data == ctx.events[0].data
        return [each.data["encrypted"]["n"] + each.data["plain"] for each in ctx.events]

    events = [
        {"name": "a/b", "data": {"encrypted": sealed({"n": n}), "plain": 10}} for n in (1, 2, 3)
    ]
    answer = played(mode, f).call(event=events[0], events=events)
    assert opened(json.loads(answer.body)) == [11, 12, 13]


def test_the_event_inside_an_event_about_a_failure_is_decrypted(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return [ctx.event.data["event"]["data"], ctx.event.data["result"]]

    began = {"name": "a/b", "data": {"encrypted": sealed(7), "plain": 1}}
    data = {"event": began, "run_id": "01RUN", "result": sealed("done")}
    event = {"name": "inngest/function.failed", "data": data}
    answer = played(mode, f).call(event=event, events=[event])
    assert opened(json.loads(answer.body)) == [{"encrypted": 7, "plain": 1}, "done"]


def test_data_that_is_encrypted_whole_is_decrypted(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return ctx.event.data

    event = {"name": "inngest/function.finished", "data": sealed({"result": 1})}
    answer = played(mode, f).call(event=event, events=[event])
    assert opened(json.loads(answer.body)) == {"result": 1}


def test_an_event_without_data_may_be_waited_for(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.wait_for_event("w", event="a/c", timeout=1000)).name

    assert opened(played(mode, f).finish({"w": {"name": "a/c", "data": None}})) == "a/c"


def test_an_event_that_a_step_waited_for_is_decrypted(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        found = yield ctx.step.wait_for_event("w", event="a/c", timeout=1000)
        return found.data

    event = {"name": "a/c", "data": {"encrypted": sealed(7), "plain": 1}, "id": "e", "ts": 1}
    assert opened(played(mode, f).finish({"w": event})) == {"encrypted": 7, "plain": 1}


def test_what_was_written_without_encryption_is_read_as_it_is(mode: Mode) -> None:
    run = played(mode, two_steps)
    run.memo({"id": hash_id("find")}, {"data": {"phone": "1"}})
    assert opened(run.finish()) == [{"phone": "1"}, True]


def test_sleeps_and_failed_steps_are_left_alone(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep("s", 1000)
        try:
            yield ctx.step.run("bad", lambda: 1 / 0)
        except Exception as error:
            return str(error)

    run = played(mode, f)
    run.max_attempts = 1
    assert opened(run.finish()) == "division by zero"
    assert run.steps[hash_id("s")] is None
    assert run.steps[hash_id("bad")]["error"]["name"] == "ZeroDivisionError"


def test_what_a_function_is_invoked_with_has_its_field_encrypted(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        data = {"encrypted": {"p": 1}, "plain": 2}
        result = yield ctx.step.invoke_by_id("i", app_id="other", function_id="g", data=data)
        return result + 1

    run = played(mode, f)
    assert opened(run.finish({"i": {"data": sealed(41)}})) == 42
    [op] = json.loads(run.answers[0].body)
    sent = op["opts"]["payload"]["data"]
    assert (opened(sent["encrypted"]), sent["plain"]) == ({"p": 1}, 2)


def test_functions_invoked_side_by_side_have_their_fields_encrypted() -> None:
    async def f(ctx: Any) -> list[Any]:
        data = {"encrypted": "secret"}
        invoke = ctx.step.invoke_by_id
        return list(
            await asyncio.gather(
                *(invoke(f"i{n}", app_id="o", function_id="g", data=data) for n in (1, 2))
            )
        )

    run = define(f, app(middleware=[ENCRYPTION]))
    sent = [op["opts"]["payload"]["data"]["encrypted"] for op in run.ops()]
    assert [opened(each) for each in sent] == ["secret", "secret"]


def test_the_arguments_of_steps_are_encrypted_and_come_back_when_edited(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("add", lambda a, b: a + b, "867", "-5309"))

    run = played(mode, f)
    [op] = run.ops()
    assert b"867" not in run.answers[-1].body
    shown = op["opts"]["input"]
    assert [opened(each) for each in shown] == ["867", "-5309"]
    run.steps[op["id"]] = {"input": [shown[0], "-0000"]}
    [op] = run.ops()
    assert opened(op["data"]) == "867-0000"


def test_arguments_that_are_not_json_are_not_shown(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("add", lambda a: len(a), {"867"}))

    [op] = played(mode, f).ops()
    assert (opened(op["data"]), op["opts"].get("input")) == (1, None)


def posted(server: Server) -> Any:
    """The events that the server was sent."""
    return server.bodies[0]


@pytest.mark.parametrize("field", ["encrypted", "private"])
def test_one_field_of_the_events_that_are_sent_is_encrypted(
    mode: Mode, server: Server, field: str
) -> None:
    chosen = EncryptionMiddleware.factory(KEY, event_encryption_field=field)
    # Two of them, for the client and for a function, encrypt once.
    client = app(event_api_base_url=server.url, middleware=[chosen, chosen])
    events: list[Event] = [Event(name="a/b", data={field: {"p": 1}, "plain": 2}), Event(name="a/c")]
    with pytest.raises(SendEventsError):  # this server gives no ids
        if mode == "sync":
            client.send_sync(events)
        else:
            asyncio.run(client.send(events))
    first, second = posted(server)
    assert opened(first["data"][field]) == {"p": 1}
    assert (first["data"]["plain"], second["data"]) == (2, {})
    assert events[0].data == {field: {"p": 1}, "plain": 2}


def test_events_that_a_step_sends_are_encrypted(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.send_event("send", Event(name="a/b", data={"encrypted": "867-5309"}))

    run = played(mode, f, event_api_base_url=server.url)
    run.ops()
    assert opened(posted(server)[0]["data"]["encrypted"]) == "867-5309"
    assert b"867" not in run.answers[-1].body


def test_decrypt_only_reads_and_does_not_encrypt(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        old = yield ctx.step.run("old", lambda: None)
        data = {"encrypted": old}
        yield ctx.step.invoke_by_id("i", app_id="o", function_id="g", data=data)
        return (yield ctx.step.run("new", lambda n: old + n, 1))

    leaving = EncryptionMiddleware.factory(KEY, decrypt_only=True)
    run = played(mode, f, leaving, event_api_base_url=server.url)
    run.memo({"id": hash_id("old")}, {"data": sealed(41)})
    assert run.finish({"i": {"data": None}}) == 42
    assert json.loads(run.answers[0].body)[0]["opts"]["payload"]["data"] == {"encrypted": 41}
    with pytest.raises(SendEventsError):
        run.client.send_sync(Event(name="a/b", data={"encrypted": 1}))
    assert posted(server)[0]["data"] == {"encrypted": 1}


def test_a_result_that_looks_encrypted_comes_back_as_it_was(mode: Mode) -> None:
    looks = sealed(1, "another")

    def f(ctx: Any) -> Steps:
        first = yield ctx.step.run("a", lambda: looks)
        return (yield ctx.step.run("b", lambda: first == looks)) and first == looks

    assert opened(played(mode, f).finish()) is True


def test_what_another_strategy_encrypted_is_left_to_it(mode: Mode) -> None:
    foreign = {**sealed(1), "__STRATEGY__": "acme/rot13"}
    run = played(mode, two_steps)
    run.memo({"id": hash_id("find")}, {"data": foreign})
    assert opened(run.finish()) == [foreign, True]


def test_the_limit_of_a_result_counts_what_is_sent(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("big", lambda: "x" * 3_500_000)

    [op] = played(mode, f).ops()
    assert op["op"] == "StepFailed"
    assert "4,666,791 bytes" in op["error"]["message"]  # a third more, as base64


@pytest.mark.parametrize("where", ["step", "function"])
def test_a_result_that_is_not_json_is_told_as_without_encryption(mode: Mode, where: str) -> None:
    def f(ctx: Any) -> Steps:
        if where == "function":
            return {1}
        yield ctx.step.run("a", lambda: {1})

    answer = played(mode, f).call()
    assert b"OutputUnserializableError" in answer.body


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "the secret key is empty"),
        pytest.param(b"", "the secret key is empty", id="no bytes"),
        (b"abcd", "a secret key of 4 bytes is none: as bytes it is 64 hexadecimal digits"),
        pytest.param(b"\0" * 32, "a secret key of 32 bytes is none", id="raw"),
        (b"xy" * 32, "a secret key of 64 bytes is none"),
    ],
)
def test_a_key_that_is_none_is_refused_when_the_app_is_made(key: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EncryptionMiddleware.factory(key)
    with pytest.raises(ConfigError, match=message):
        EncryptionMiddleware.factory(KEY, fallback_decryption_keys=[key])


def test_no_repr_shows_a_key() -> None:
    factory = EncryptionMiddleware.factory(KEY, fallback_decryption_keys=[HEX_KEY])
    made = factory(None, None)
    shown = f"{factory!r} {made!r} {vars(made)!r}"
    assert KEY not in shown and HEX_KEY.decode() not in shown


def test_memos_are_seen_by_other_middleware_as_they_are_given() -> None:
    seen: list[Any] = []

    class Seeing(MiddlewareSync):
        def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
            seen.extend(each.data for each in steps.values())

    run = played("sync", two_steps, ENCRYPTION, Seeing)
    run.memo({"id": hash_id("find")}, {"data": sealed("plain")})
    run.call()
    assert seen == ["plain"]
