"""Functions: what they register, and which definitions are refused."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
)
from inngest_sdk.function import Function, Options, TriggerCron, TriggerEvent, is_async
from inngest_sdk.serializer import NoOutputType

URL = "https://shop.example/api/inngest"
PLACED = TriggerEvent(event="shop/order.placed")


async def mail(ctx: object) -> int:
    return 1


def mail_sync(ctx: object) -> int:
    return 1


def function(**arguments: Any) -> Function[int]:
    given: dict[str, Any] = {
        "app_id": "shop",
        "local_id": "mail",
        "name": "Mail",
        "handler": mail,
        "triggers": (PLACED,),
    }
    given.update(arguments)
    return Function(**given)


def test_a_function_registers_its_triggers_and_the_url_of_its_one_step() -> None:
    assert function().configs(URL) == [
        {
            "id": "shop-mail",
            "name": "Mail",
            "triggers": [{"event": "shop/order.placed"}],
            "steps": {
                "step": {
                    "id": "step",
                    "name": "step",
                    "runtime": {"type": "http", "url": f"{URL}?fnId=shop-mail&stepId=step"},
                }
            },
        }
    ]


def test_a_query_of_the_url_stays_before_ours() -> None:
    (entry,) = function().configs(f"{URL}?code=a%3D%3D")

    assert entry["steps"]["step"]["runtime"]["url"] == (
        f"{URL}?code=a%3D%3D&fnId=shop-mail&stepId=step"
    )


def test_a_failure_handler_is_a_second_function_without_retries() -> None:
    made = function(on_failure=mail_sync, options=Options(retries=3))

    main, failure = made.configs(URL)

    assert main["steps"]["step"]["retries"] == {"attempts": 3}
    assert failure == {
        "id": "shop-mail-failure",
        "name": "Mail (failure)",
        "triggers": [
            {
                "event": "inngest/function.failed",
                "expression": "event.data.function_id == 'shop-mail'",
            }
        ],
        "steps": {
            "step": {
                "id": "step",
                "name": "step",
                "runtime": {"type": "http", "url": f"{URL}?fnId=shop-mail-failure&stepId=step"},
                "retries": {"attempts": 0},
            }
        },
    }


def test_every_option_registers_under_its_own_name() -> None:
    options = Options(
        cancel=[Cancel(event="shop/order.cancelled")],
        concurrency=[Concurrency(limit=1), Concurrency(limit=2, scope="account")],
        debounce=Debounce(period="1s"),
        idempotency="event.data.id",
        priority=Priority(run="event.data.p"),
        rate_limit=RateLimit(limit=1, period="1m"),
        throttle=Throttle(limit=1, period="1m"),
        timeouts=Timeouts(start="10s"),
        singleton=Singleton(mode="skip"),
    )

    assert options.to_wire() == {
        "cancel": [{"event": "shop/order.cancelled"}],
        "concurrency": [{"limit": 1}, {"limit": 2, "scope": "account"}],
        "debounce": {"period": "1s"},
        "idempotency": "event.data.id",
        "priority": {"run": "event.data.p"},
        "rateLimit": {"limit": 1, "period": "1m"},
        "throttle": {"limit": 1, "period": "1m", "burst": 1},
        "timeouts": {"start": "10s"},
        "singleton": {"mode": "skip"},
    }
    assert Options(batch_events=Batch(max_size=2)).to_wire() == {"batchEvents": {"maxSize": 2}}
    assert Options(cancel=[], concurrency=[]).to_wire() == {}


def test_a_function_knows_its_ids_and_its_handlers() -> None:
    made = function(on_failure=mail_sync, options=Options(retries=0))

    assert (made.id, made.get_id(), made.local_id) == ("shop-mail", "shop-mail", "mail")
    assert made.on_failure_fn_id == "shop-mail-failure"
    assert (made.is_handler_async, made.is_on_failure_handler_async) == (True, False)
    assert made.retries == 0
    assert made.output_type is NoOutputType


def test_a_function_without_a_failure_handler_says_so() -> None:
    made = function(handler=mail_sync)

    assert made.on_failure_fn_id is None
    assert made.is_on_failure_handler_async is None
    assert made.is_handler_async is False
    assert made.retries is None


class AsyncObject:
    async def __call__(self, ctx: object) -> None: ...


class SyncObject:
    def __call__(self, ctx: object) -> None: ...


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (mail, True),
        (mail_sync, False),
        (functools.partial(mail), True),
        (functools.partial(mail_sync), False),
        (AsyncObject(), True),
        (SyncObject(), False),
        (lambda ctx: None, False),
    ],
)
def test_async_handlers_are_told_from_sync_ones(
    handler: Callable[..., Any], expected: bool
) -> None:
    assert is_async(handler) is expected


@pytest.mark.parametrize(
    ("trigger", "wire"),
    [
        (PLACED, {"event": "shop/order.placed"}),
        (
            TriggerEvent(event="shop/*", expression="event.data.n > 1"),
            {"event": "shop/*", "expression": "event.data.n > 1"},
        ),
        (TriggerCron(cron="* * * * *"), {"cron": "* * * * *"}),
        (
            TriggerCron(cron="TZ=Europe/Paris 0 9 * * MON-FRI", jitter="30s"),
            {"cron": "TZ=Europe/Paris 0 9 * * MON-FRI", "jitter": "30s"},
        ),
        (
            TriggerCron(cron="CRON_TZ=UTC */5 0,12 1-7 * *", jitter=300_000),
            {"cron": "CRON_TZ=UTC */5 0,12 1-7 * *", "jitter": "5m"},
        ),
    ],
)
def test_a_trigger_registers_what_is_set(trigger: Any, wire: dict[str, str]) -> None:
    assert trigger.to_wire() == wire


@pytest.mark.parametrize(
    ("option", "arguments", "message"),
    [
        (TriggerEvent, dict(event=""), "TriggerEvent.event is ''"),
        (TriggerEvent, dict(event="e" * 256), "the most allowed is 255"),
        (TriggerEvent, dict(event="e", expression=""), "TriggerEvent.expression is ''"),
        (TriggerCron, dict(cron="0 9 * *"), "is '0 9 * *'; it takes five fields"),
        (TriggerCron, dict(cron="0 0 9 * * *"), "it takes five fields"),
        (TriggerCron, dict(cron="@every 5m"), "it takes five fields"),
        (TriggerCron, dict(cron="@every 5m a b c"), "it takes five fields"),
        (TriggerCron, dict(cron="TZ=Europe/Paris"), "it takes five fields"),
        (TriggerCron, dict(cron="tz=Europe/Paris 0 9 * *"), "it takes five fields"),
        (TriggerCron, dict(cron=" ".join(["1,2,3" * 20] * 5)), "at most 255 characters"),
        (TriggerCron, dict(cron=5), "at most 255 characters of text"),
        (TriggerCron, dict(cron="TZ=Mars/Base 0 9 * * *"), "there is no time zone 'Mars/Base'"),
        (TriggerCron, dict(cron="TZ=../etc 0 9 * * *"), "there is no time zone '../etc'"),
        (TriggerCron, dict(cron="TZ=Europe 0 9 * * *"), "there is no time zone 'Europe'"),
        (TriggerCron, dict(cron="* * * * *", jitter="999ms"), "the least allowed is 1s"),
        (TriggerCron, dict(cron="* * * * *", jitter="6m"), "the most allowed is 5m"),
    ],
)
def test_a_bad_trigger_is_refused_when_it_is_made(
    option: Callable[..., object], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        option(**arguments)

    assert message in caught.value.message


def test_without_a_zone_database_the_server_judges_the_zone() -> None:
    code = (
        "import sys; sys.modules['tzdata'] = None\n"
        "from inngest_sdk.function import TriggerCron\n"
        "print(TriggerCron(cron='TZ=Mars/Base 0 9 * * *').cron)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
    )

    assert ran.stdout == "TZ=Mars/Base 0 9 * * *\n", ran.stderr


async def generator(ctx: object) -> Any:
    yield


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local_id": ""}, "fn_id is ''; it takes letters, digits"),
        ({"local_id": "send mail"}, "fn_id is 'send mail'"),
        ({"local_id": "it's"}, 'fn_id is "it\'s"'),
        ({"local_id": "-mail"}, "a letter or digit first"),
        ({"local_id": 5}, "fn_id is 5"),
        ({"local_id": "m" * 200}, "with 205 characters; the most allowed is 200"),
        ({"triggers": (PLACED, PLACED)}, "twice; once is enough"),
        (
            {"triggers": tuple(TriggerEvent(event=f"e{n}") for n in range(11))},
            "trigger lists 11; the most allowed is 10",
        ),
        ({"triggers": ("e",)}, "trigger is 'e'; it takes TriggerEvent or TriggerCron"),
        ({"handler": "mail"}, "the decorated function is 'mail'; it takes a function"),
        ({"handler": generator}, "the decorated function is a generator"),
        ({"on_failure": 5}, "on_failure is 5; it takes a function"),
    ],
)
def test_a_bad_function_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        function(**arguments)

    assert message in caught.value.message


BATCH = Batch(max_size=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retries": 21}, "retries is 21; it takes a whole number, 0 to 20"),
        ({"retries": -1}, "retries is -1"),
        ({"retries": True}, "retries is True"),
        ({"idempotency": ""}, "idempotency is ''"),
        (
            {"concurrency": [Concurrency(limit=1)] * 3},
            "concurrency lists 3; the most allowed is 2",
        ),
        ({"cancel": [Cancel(event="e")] * 6}, "cancel lists 6; the most allowed is 5"),
        ({"cancel": Cancel(event="e")}, "it takes a list"),
        ({"cancel": ["e"]}, "cancel is 'e'; it takes Cancel"),
        ({"throttle": RateLimit(limit=1, period="1s")}, "it takes Throttle"),
        ({"batch_events": BATCH, "cancel": [Cancel(event="e")]}, "combined with cancel;"),
        ({"batch_events": BATCH, "debounce": Debounce(period="1s")}, "combined with debounce;"),
        ({"batch_events": BATCH, "singleton": Singleton(mode="skip")}, "with singleton;"),
        (
            {
                "batch_events": BATCH,
                "priority": Priority(run="1"),
                "rate_limit": RateLimit(limit=1, period="1s"),
                "idempotency": "event.data.id",
            },
            "combined with priority, rate_limit, idempotency;",
        ),
    ],
)
def test_bad_options_and_combinations_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        Options(**arguments)

    assert message in caught.value.message


def test_batching_goes_with_what_the_server_allows_beside_it() -> None:
    Options(
        batch_events=BATCH,
        cancel=[],
        concurrency=[Concurrency(limit=1)],
        throttle=Throttle(limit=1, period="1s"),
        timeouts=Timeouts(finish="1h"),
    )


def test_a_function_may_have_no_trigger_and_then_is_only_invoked() -> None:
    assert function(triggers=()).configs(URL)[0]["triggers"] == []
