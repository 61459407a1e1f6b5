"""What an SDK registers (engine.md 1.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_serverless.engine.model import CancelOn, CronTrigger, EventTrigger, FunctionConfig
from inngest_serverless.engine.register import (
    Registration,
    RegistrationInvalid,
    normal_url,
    read_registration,
)

from .captures import exchanges

URL = "http://127.0.0.1:9001/api/inngest"


def function(**options: Any) -> dict[str, Any]:
    step = {
        "id": "step",
        "name": "step",
        "runtime": {"type": "http", "url": f"{URL}?fnId=shop-f&stepId=step"},
    }
    return {
        "id": "shop-f",
        "name": "F",
        "triggers": [{"event": "a/b"}],
        "steps": {"step": step},
        **options,
    }


def body(*functions: Any, **fields: Any) -> dict[str, Any]:
    return {"url": URL, "appName": "shop", "sdk": "py:v1", "functions": list(functions), **fields}


def read(value: Any, **headers: str) -> Registration:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return read_registration(content, named, now_ms=5)


def config(**options: Any) -> FunctionConfig:
    return read(body(function(**options))).functions[0]


def refusal(value: Any, **headers: str) -> str:
    with pytest.raises(RegistrationInvalid) as caught:
        read(value, **headers)
    return str(caught.value)


# ── recorded registrations ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["py-dev.jsonl", "js-dev.jsonl"])
def test_a_recorded_registration_is_taken_whole(name: str) -> None:
    exchange = next(e for e in exchanges(name) if e["request"]["path"] == "/fn/register")
    sent = exchange["request"]["body"]
    found = read_registration(json.dumps(sent).encode(), exchange["request"]["headers"], now_ms=5)

    assert found.app.app_id == exchange["response"]["body"]["app_id"]
    assert found.app.name in ("shop", "js")
    assert found.app.url == sent["url"].replace("127.0.0.1", "localhost")
    assert found.app.sdk == sent["sdk"]
    assert [each.slug for each in found.functions] == [each["id"] for each in sent["functions"]]
    for each, listed in zip(found.functions, sent["functions"], strict=True):
        runtime = listed["steps"]["step"]["runtime"]
        assert each.url == runtime["url"].replace("127.0.0.1", "localhost")
        assert each.retries == listed["steps"]["step"].get("retries", {}).get("attempts", 4)
        assert each.config == listed


def test_recorded_options_are_read() -> None:
    exchange = next(e for e in exchanges("py-dev.jsonl") if e["request"]["path"] == "/fn/register")
    found = read(exchange["request"]["body"])
    by_slug = {each.slug: each for each in found.functions}
    assert by_slug["shop-cron"].triggers == (CronTrigger("* * * * *"),)
    assert by_slug["shop-cancel-me"].cancels == (CancelOn("cap/cancel"),)
    assert by_slug["shop-concurrency"].idempotency == "event.data.id"
    assert by_slug["shop-with-on-failure-failure"].triggers == (
        EventTrigger("inngest/function.failed", "event.data.function_id == 'shop-with-on-failure'"),
    )


# ── what is read ─────────────────────────────────────────────────────────────────────────────────


def test_a_function_is_read_with_all_the_engine_needs() -> None:
    found = config(
        triggers=[
            {"event": "a/b", "expression": "event.data.n > 1"},
            {"cron": "TZ=Europe/Paris 0 9 * * 1-5", "jitter": "30s"},
        ],
        cancel=[{"event": "a/stop", "if": "async.data.id == event.data.id", "timeout": "1h"}],
        idempotency="event.data.id",
    )
    assert found.triggers == (
        EventTrigger("a/b", "event.data.n > 1"),
        CronTrigger("TZ=Europe/Paris 0 9 * * 1-5", 30_000),
    )
    assert found.cancels == (CancelOn("a/stop", "async.data.id == event.data.id", 3_600_000),)
    assert found.idempotency == "event.data.id"
    assert (found.slug, found.name, found.app_name) == ("shop-f", "F", "shop")


def test_keys_are_read_in_any_case() -> None:
    sent = {
        "URL": URL,
        "appname": "shop",
        "Functions": [
            {
                "ID": "shop-f",
                "Triggers": [{"Event": "a/b"}],
                "Steps": {"step": {"Runtime": {"Type": "http", "URL": URL}}},
                "Singleton": {"Mode": "skip"},
                "ratelimit": {"Limit": 1, "Period": "10s"},
            }
        ],
    }
    found = read(sent).functions[0]
    assert found.triggers == (EventTrigger("a/b"),)
    assert found.config["singleton"] == {"mode": "skip"}
    assert found.config["rateLimit"] == {"limit": 1, "period": "10s"}


def test_a_function_keeps_its_id_when_its_url_changes() -> None:
    before = read(body(function())).functions[0]
    moved = function()
    moved["steps"]["step"]["runtime"]["url"] = "https://shop.example/api/inngest?fnId=shop-f"
    after = read(body(moved, url="https://shop.example/api/inngest")).functions[0]
    assert before.function_id == after.function_id
    assert before.url != after.url


def test_the_same_slug_in_another_app_is_another_function() -> None:
    other = read(body(function(), appName="other")).functions[0]
    assert other.function_id != config().function_id


@pytest.mark.parametrize(("given_retries", "retries"), [(None, 4), (0, 0), (3, 3), (99, 20)])
def test_retries_default_to_4_and_stop_at_20(given_retries: int | None, retries: int) -> None:
    sent = function()
    if given_retries is not None:
        sent["steps"]["step"]["retries"] = {"attempts": given_retries}
    assert read(body(sent)).functions[0].retries == retries


def test_an_app_without_functions_is_an_app() -> None:
    assert read(body()).functions == ()
    assert read({"url": URL, "appName": "shop"}).functions == ()


@pytest.mark.parametrize(
    "concurrency",
    [
        5,
        {"limit": 5, "key": "event.data.u", "scope": "env"},
        [{"limit": 5}, {"limit": 1, "scope": "account"}],
        {"fn": [{"limit": 1}], "step": [{"limit": 2}]},
        [],
    ],
)
def test_concurrency_has_four_forms(concurrency: Any) -> None:
    assert config(concurrency=concurrency).config["concurrency"] == concurrency


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("http://127.0.0.1:9001/x", "http://localhost:9001/x"),
        ("http://0.0.0.0/x", "http://localhost/x"),
        ("http://[::1]:80/x", "http://localhost:80/x"),
        ("http://localhost:1/x", "http://localhost:1/x"),
        ("https://h/x?deployId=1&code=a%2Fb&probe=trust", "https://h/x?code=a%2Fb"),
        ("https://h/x?fnId=a&stepId=step", "https://h/x?fnId=a&stepId=step"),
        ("https://h/x#part", "https://h/x"),
    ],
)
def test_urls_are_stored_in_one_form(url: str, stored: str) -> None:
    assert normal_url(url) == stored


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "JSON object"),
        (b"null", "JSON object"),
        (b"{", "not JSON"),
        ({"url": URL}, "app name"),
        ({"url": URL, "appName": ""}, "app name"),
        ({"url": URL, "appName": 5}, "app name"),
        ({"appName": "shop"}, "url is"),
        (body(url="not a url"), "url is"),
        (body(url="ftp://h/x"), "url is"),
        (body(url="http://[::1"), "url is"),
        (body(url="http://h:99999/"), "url is"),
        (body(functions={}), "functions is {}"),
        (body(None), "function 0 is null"),
        (body({}), "function 0 has no id"),
        (body(function(), function()), "two functions"),
        (body(sdk=5), "sdk is 5"),
        (body(headers=[]), "headers is []"),
    ],
)
def test_a_registration_that_is_none_is_refused_with_a_reason(value: Any, said: str) -> None:
    assert said in refusal(value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": None}, "exactly one"),
        ({"steps": {}}, "exactly one"),
        ({"steps": {"a": {}, "b": {}}}, "2 steps"),
        ({"steps": {"step": None}}, "its step"),
        ({"steps": {"step": {}}}, "runtime"),
        ({"steps": {"step": {"runtime": {"type": "ws", "url": URL}}}}, "'ws'"),
        ({"steps": {"step": {"runtime": {"url": "/relative"}}}}, "absolute"),
        ({"steps": {"step": {"runtime": {"url": URL}, "retries": {"attempts": -1}}}}, "-1"),
        ({"steps": {"step": {"runtime": {"url": URL}, "retries": {"attempts": "3"}}}}, "0 to 20"),
        ({"steps": {"step": {"runtime": {"url": URL}, "retries": 3}}}, "retries"),
        ({"triggers": {}}, "triggers"),
        ({"triggers": [{"event": f"e{n}"} for n in range(11)]}, "11 triggers"),
        ({"triggers": [{"event": "a"}, {"event": "a"}]}, "twice"),
        ({"triggers": [{}]}, "an event or a cron"),
        ({"triggers": [{"event": "a", "cron": "* * * * *"}]}, "an event or a cron"),
        ({"triggers": [{"event": "x" * 256}]}, "256 characters"),
        ({"triggers": [{"event": 5}]}, "event is 5"),
        ({"triggers": [None]}, "trigger is null"),
        ({"triggers": [{"cron": "* * * *"}]}, "cron"),
        ({"triggers": [{"cron": "@every 5m"}]}, "cron"),
        ({"triggers": [{"cron": "@daily"}]}, "cron"),
        ({"triggers": [{"cron": "61 * * * *"}]}, "cron"),
        ({"triggers": [{"cron": "TZ=Mars/North * * * * *"}]}, "Mars/North"),
        ({"triggers": [{"cron": "* * * * *", "jitter": "500ms"}]}, "jitter"),
        ({"triggers": [{"cron": "* * * * *", "jitter": "6m"}]}, "jitter"),
        ({"triggers": [{"cron": "* * * * *", "jitter": "soon"}]}, "jitter"),
        ({"cancel": [{"event": "a"}] * 6}, "6 cancel"),
        ({"cancel": [{}]}, "names no event"),
        ({"cancel": [{"event": "a", "timeout": "9" * 400 + "s"}]}, "timeout"),
        ({"concurrency": [{"limit": 1}] * 3}, "3 concurrency"),
        ({"concurrency": {"fn": [{"limit": 1}], "step": [{"limit": 1}] * 2}}, "3 concurrency"),
        ({"concurrency": "5"}, "limit is"),
        ({"concurrency": [{"limit": 1, "scope": None}]}, "scope is null"),
        ({"concurrency": [{"limit": 1, "scope": "world"}]}, "scope"),
        ({"concurrency": {"fn": 1}}, "concurrency.fn"),
        ({"debounce": {"period": "999ms"}}, "period"),
        ({"debounce": {"period": "8d"}}, "period"),
        ({"debounce": {}}, "no period"),
        ({"debounce": "1s"}, "debounce"),
        ({"rateLimit": {"limit": 1, "period": "25h"}}, "period"),
        ({"rateLimit": {"limit": 0, "period": "1h"}}, "limit is 0"),
        ({"rateLimit": {"limit": 1}}, "no period"),
        ({"throttle": {"limit": 1, "period": "1s", "burst": "x"}}, "burst"),
        ({"batchEvents": {"maxSize": 1, "timeout": "5s"}}, "maxSize"),
        ({"batchEvents": {"maxSize": 2, "timeout": "1ms"}}, "timeout"),
        ({"batchEvents": {"maxSize": 2, "timeout": "5s"}, "cancel": [{"event": "a"}]}, "cancel"),
        (
            {
                "batchEvents": {"maxSize": 2, "timeout": "5s"},
                "singleton": {"mode": "skip"},
                "priority": {"run": "1"},
            },
            "singleton, priority",
        ),
        ({"singleton": {"mode": "first"}}, "mode"),
        ({"priority": {"run": 5}}, "run is 5"),
        ({"timeouts": {"start": "never"}}, "start"),
        ({"idempotency": 5}, "idempotency"),
        ({"name": {}}, "name is {}"),
    ],
)
def test_an_invalid_function_refuses_the_sync_and_is_named(
    options: dict[str, Any], said: str
) -> None:
    text = refusal(body(function(**options)))
    assert said in text
    assert "'shop-f'" in text


def test_a_batch_may_come_with_options_that_are_empty() -> None:
    batch = {"maxSize": 2, "timeout": "5s"}
    assert config(batchEvents=batch, cancel=[], priority=None).config["batchEvents"] == batch


@pytest.mark.parametrize("sdk", ["js:v3.22.0", "js:v3.53.1", "inngest-js:v3.40.2-beta"])
def test_sdk_versions_with_a_known_flaw_are_refused(sdk: str) -> None:
    assert "security" in refusal(body(sdk=sdk))


@pytest.mark.parametrize("sdk", ["js:v3.21.9", "js:v3.53.2", "js:v4.24.0", "py:v3.30.0", ""])
def test_other_sdk_versions_are_taken(sdk: str) -> None:
    assert read(body(sdk=sdk)).app.sdk == sdk


def test_an_app_that_expects_another_kind_of_server_is_refused() -> None:
    with pytest.raises(RegistrationInvalid) as caught:
        read(body(), x_inngest_expected_server_kind="cloud")
    assert caught.value.is_kind_mismatch
    assert read(body(), x_inngest_expected_server_kind="dev").app.name == "shop"
    headers = {"x-inngest-expected-server-kind": "cloud"}
    content = json.dumps(body()).encode()
    found = read_registration(content, headers, now_ms=0, server_kinds=("cloud", "dev"))
    assert found.app.name == "shop"


# ── whatever comes ───────────────────────────────────────────────────────────────────────────────

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("10s"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_OPTIONS = st.sampled_from(
    [
        *("id", "name", "triggers", "steps", "concurrency", "throttle", "rateLimit", "debounce"),
        *("batchEvents", "priority", "idempotency", "singleton", "cancel", "timeouts"),
    ]
)
_INNER = st.sampled_from(
    [
        *("event", "expression", "cron", "jitter", "if", "timeout", "limit", "key", "scope", "fn"),
        *("step", "period", "burst", "maxSize", "run", "mode", "start", "finish", "runtime"),
        *("url", "retries", "attempts", "type"),
    ]
)
_OPTION = (
    _JSON | st.dictionaries(_INNER, _JSON) | st.lists(st.dictionaries(_INNER, _JSON), max_size=3)
)
_FUNCTION = st.dictionaries(_OPTIONS, _OPTION).map(lambda options: function(**options))


@given(
    st.binary()
    | (
        _JSON
        | st.lists(_FUNCTION | _JSON, max_size=3).map(lambda listed: body(*listed))
        | st.dictionaries(
            st.sampled_from(["url", "appName", "sdk", "functions", "headers", "appVersion"]), _JSON
        )
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_sent_is_registered_or_refused_with_a_reason(sent: bytes) -> None:
    try:
        found = read(sent)
    except RegistrationInvalid as error:
        assert str(error)
    else:
        json.dumps([each.config for each in found.functions], allow_nan=False)
