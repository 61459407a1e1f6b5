"""The engine's HTTP surface (engine.md 1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from inngest_serverless.engine import views
from inngest_serverless.engine.api import create_api
from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.model import (
    App,
    Call,
    Failed,
    Finished,
    FunctionConfig,
    Ops,
    Reply,
)

from .serving import registration

URL = "http://localhost:9001/api/inngest"
UNKNOWN = "01HF7YAT00000G40R40M30E20A"
Caller = Callable[[Call], Awaitable[Reply]]


async def returns(call: Call) -> Reply:
    return Finished({"got": call.events[0].data})


class Client:
    """An engine with its API, and a client of it."""

    def __init__(self, engine: Engine, http: httpx.AsyncClient, clock: ManualClock) -> None:
        self.engine = engine
        self.http = http
        self.clock = clock

    async def register(self, *slugs: str, **options: Any) -> dict[str, Any]:
        body = registration(URL, *slugs, **options)
        answer = await self.http.post("/fn/register", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def send(self, *events: Any) -> list[str]:
        answer = await self.http.post("/e/any-key", json=list(events))
        assert answer.status_code == 200, answer.text
        ids: list[str] = answer.json()["ids"]
        return ids

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def run_of(self, slug: str, data: dict[str, Any] | None = None) -> str:
        """Start a function; the id of its run."""
        [event_id] = await self.send({"name": f"run/{slug}", "data": data or {}})
        [run] = (await self.get(f"/v1/events/{event_id}/runs"))["data"]
        run_id: str = run["run_id"]
        return run_id


def with_client(act: Callable[[Client], Awaitable[None]], caller: Caller = returns) -> None:
    async def go() -> None:
        clock = ManualClock()
        async with Engine(caller, clock=clock) as engine:
            transport = httpx.ASGITransport(create_api(engine, clock=clock))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
                await act(Client(engine, http, clock))

    asyncio.run(go())


def is_common_error(answer: httpx.Response, status: int) -> str:
    """Check the error body of 1.1; its text."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"error", "data", "status"}
    assert (body["data"], body["status"]) == (None, status)
    assert isinstance(body["error"], str)
    return str(body["error"])


# ── what this is ─────────────────────────────────────────────────────────────────────────────────


def test_it_is_healthy_and_says_what_kind_of_server_it_is() -> None:
    async def act(client: Client) -> None:
        answer = await client.http.get("/health", headers={"origin": "http://elsewhere"})
        assert answer.json() == {"status": 200, "message": "OK"}
        assert answer.headers["x-inngest-server-kind"] == "dev"
        assert answer.headers["access-control-allow-origin"] == "*"

    with_client(act)


def test_a_browser_may_ask_beforehand_from_anywhere() -> None:
    async def act(client: Client) -> None:
        headers = {
            "origin": "http://elsewhere",
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-inngest-env",
        }
        answer = await client.http.options("/e/key", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"] == "x-inngest-env"

    with_client(act)


def test_dev_lists_the_functions() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        found = await client.get("/dev")
        [function] = found["functions"]
        assert function["slug"] == "shop-a"
        assert function["triggers"] == [{"event": "run/shop-a"}]
        assert function["steps"][0]["uri"] == f"{URL}?fnId=shop-a&stepId=step"
        wanted = {
            "version",
            "authed",
            "startOpts",
            "functions",
            "handlers",
            "isSingleNodeService",
            "isMissingSigningKey",
            "isMissingEventKeys",
            "features",
        }
        assert found.keys() == wanted

    with_client(act)


def test_the_page_shows_apps_functions_and_runs_and_escapes_what_it_shows() -> None:
    async def act(client: Client) -> None:
        assert "none yet" in (await client.http.get("/")).text
        await client.register("<script>alert(1)</script>")
        await client.send({"name": "run/<script>alert(1)</script>"})
        await client.engine.idle()
        page = (await client.http.get("/")).text
        assert "<script>" not in page
        assert page.count("&lt;script&gt;alert(1)") >= 2
        assert "Completed" in page

    with_client(act)


def test_the_page_says_which_options_of_a_function_are_not_applied() -> None:
    app = App("a", "shop", URL, error="unreachable: <nobody>")
    config = FunctionConfig("f", "a", "shop", "shop-a", "A", URL)
    page = views.page([app], [config], [], {"shop-a": ["throttle", "priority"]})
    assert "<td>throttle, priority</td>" in page
    assert "unreachable: &lt;nobody&gt;" in page


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/thing", 404),
        ("POST", "/v1/checkpoint/x", 404),
        ("GET", "/fn/register", 405),
        ("PUT", "/e/key", 405),
        ("POST", "/v1/runs/" + UNKNOWN, 405),
    ],
)
def test_an_unknown_path_or_method_is_a_json_error(method: str, path: str, status: int) -> None:
    async def act(client: Client) -> None:
        answer = await client.http.request(method, path)
        assert path in is_common_error(answer, status)
        assert answer.headers["x-inngest-server-kind"] == "dev"

    with_client(act)


# ── events in ────────────────────────────────────────────────────────────────────────────────────


def test_sent_events_get_ids_in_order() -> None:
    async def act(client: Client) -> None:
        answer = await client.http.post("/e/key", json={"name": "a/b", "data": {}})
        assert answer.status_code == 200
        assert answer.json().keys() == {"ids", "status"}
        assert answer.headers["content-type"] == "application/json"
        ids = await client.send({"name": "a"}, {"name": "b"}, {"name": "c"})
        rows = [(await client.get(f"/v1/events/{each}"))["data"] for each in ids]
        assert [row["name"] for row in rows] == ["a", "b", "c"]

    with_client(act)


def test_an_empty_array_is_no_event_and_an_empty_body_an_error() -> None:
    async def act(client: Client) -> None:
        assert (await client.http.post("/e/key", json=[])).json() == {"ids": [], "status": 200}
        answer = await client.http.post("/e/key", content=b"")
        assert answer.status_code == 400
        assert answer.json()["ids"] == [""]
        assert answer.json()["error"]

    with_client(act)


def test_events_before_a_bad_one_are_stored_and_their_ids_answered() -> None:
    async def act(client: Client) -> None:
        events = [{"name": "a"}, {"name": "inngest/x"}, {"name": "b"}]
        answer = await client.http.post("/e/key", json=events)
        assert answer.status_code == 400
        body = answer.json()
        assert body["error"] == "event name is reserved for internal use: inngest/x"
        assert body["status"] == 400
        stored = (await client.get("/v1/events"))["data"]
        assert [row["internal_id"] for row in stored] == body["ids"]
        assert [row["name"] for row in stored] == ["a"]

    with_client(act)


def test_a_reserved_name_alone_has_the_body_of_the_real_server() -> None:
    async def act(client: Client) -> None:
        answer = await client.http.post("/e/key", json={"name": "inngest/foo", "data": {}})
        assert answer.status_code == 400
        assert answer.json() == {
            "ids": [""],
            "status": 400,
            "error": "event name is reserved for internal use: inngest/foo",
        }

    with_client(act)


def test_a_repeated_request_with_a_seed_gives_the_same_ids() -> None:
    async def act(client: Client) -> None:
        headers = {"x-inngest-event-id-seed": "1700000000000,AAECAwQFBgcICQ=="}
        events = [{"name": "a"}, {"name": "b"}]
        first = await client.http.post("/e/key", json=events, headers=headers)
        again = await client.http.post("/e/key", json=events, headers=headers)
        assert first.status_code == again.status_code == 200
        expected = ["01HF7YAT00000G40R40M30E20A", "01HF7YAT00000G40R40M30E20B"]
        assert first.json()["ids"] == again.json()["ids"] == expected

    with_client(act)


def test_the_same_id_twice_is_two_events_and_one_run() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        event = {"name": "run/shop-a", "id": "order-1"}
        ids = await client.send(event, event)
        assert len(set(ids)) == 2
        assert len((await client.get("/api/runs"))["runs"]) == 1

    with_client(act)


def test_a_form_becomes_an_event() -> None:
    async def act(client: Client) -> None:
        answer = await client.http.post("/e/key?name=form/sent", data={"a": ["1", "2"]})
        [event_id] = answer.json()["ids"]
        row = (await client.get(f"/v1/events/{event_id}"))["data"]
        assert (row["name"], row["data"]) == ("form/sent", {"a": ["1", "2"]})

    with_client(act)


def test_invoke_starts_one_function_whatever_its_trigger() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a", "shop-b")
        answer = await client.http.post("/invoke/shop-a", json={"data": {"n": 1}})
        assert answer.json()["status"] == 200
        await client.engine.idle()
        [run] = (await client.get(f"/v1/events/{answer.json()['id']}/runs"))["data"]
        assert run["output"]["got"]["n"] == 1
        assert [each["slug"] for each in (await client.get("/api/runs"))["runs"]] == ["shop-a"]
        assert (await client.http.post("/invoke/shop-a", content=b"")).status_code == 200

    with_client(act)


def test_invoking_what_is_not_there_says_what_is() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        answer = await client.http.post("/invoke/shop-x", json={})
        assert "shop-a" in is_common_error(answer, 404)
        bad = await client.http.post("/invoke/shop-a", content=b"{")
        assert "not JSON" in is_common_error(bad, 400) or "shop-a" in bad.text
        is_common_error(await client.http.post("/invoke/shop-a", json={"data": 5}), 400)

    with_client(act)


# ── apps ─────────────────────────────────────────────────────────────────────────────────────────


def test_registering_again_what_has_not_changed_modifies_nothing() -> None:
    async def act(client: Client) -> None:
        first = await client.register("shop-a")
        again = await client.register("shop-a")
        assert first.keys() == {"ok", "modified", "sync_id", "app_id"}
        assert (first["ok"], first["modified"]) == (True, True)
        assert (again["ok"], again["modified"]) == (True, False)
        assert first["app_id"] == again["app_id"]
        assert first["sync_id"] != again["sync_id"]

    with_client(act)


def test_a_function_left_out_of_the_next_registration_is_out_of_service() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a", "shop-b")
        assert (await client.register("shop-b"))["modified"]
        listed = await client.get("/v1/apps/shop/functions")
        assert [each["slug"] for each in listed] == ["shop-b"]

    with_client(act)


def test_an_invalid_function_refuses_the_sync_and_the_app_shows_why() -> None:
    async def act(client: Client) -> None:
        body = registration(URL, "shop-a", cancel=[{}])
        text = is_common_error(await client.http.post("/fn/register", json=body), 400)
        assert "'shop-a'" in text
        assert [app.error for app in client.engine.apps()] == [text]
        await client.register("shop-a")
        assert [(app.name, app.error) for app in client.engine.apps()] == [("shop", None)]

    with_client(act)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"url":5}', b'{"url":"x","appName":"a"}']
)
def test_what_is_no_registration_is_refused(content: bytes) -> None:
    async def act(client: Client) -> None:
        is_common_error(await client.http.post("/fn/register", content=content), 400)
        assert client.engine.apps() == []

    with_client(act)


def test_an_app_that_expects_another_kind_of_server_gets_the_short_error() -> None:
    async def act(client: Client) -> None:
        headers = {"x-inngest-expected-server-kind": "cloud"}
        body = registration(URL, "shop-a")
        answer = await client.http.post("/fn/register", json=body, headers=headers)
        assert answer.status_code == 400
        assert answer.json().keys() == {"error"}

    with_client(act)


def test_an_app_can_be_removed_by_its_url() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        url = URL.replace("localhost", "127.0.0.1")
        assert (await client.http.delete("/fn/remove", params={"url": url})).status_code == 200
        assert (await client.get("/dev"))["functions"] == []
        is_common_error(await client.http.delete("/fn/remove", params={"url": url}), 404)
        is_common_error(await client.http.delete("/fn/remove", params={"url": "http://[x"}), 400)

    with_client(act)


def test_functions_of_an_app_come_without_an_envelope() -> None:
    async def act(client: Client) -> None:
        app_id = (await client.register("shop-a"))["app_id"]
        by_name = await client.get("/v1/apps/shop/functions")
        assert by_name == await client.get(f"/v1/apps/{app_id}/functions")
        assert by_name[0]["slug"] == "shop-a"
        answer = await client.http.get("/v1/apps/other/functions")
        assert "shop" in is_common_error(answer, 404)

    with_client(act)


# ── state, during a run and after it ─────────────────────────────────────────────────────────────


def test_state_is_right_in_mid_run_and_gone_after_it() -> None:
    step, released = "a" * 40, asyncio.Event()
    second = asyncio.Event()

    async def caller(call: Call) -> Reply:
        if not call.steps:
            op = {"op": "StepRun", "id": step, "name": "a", "data": {"big": 2**53 + 1, "x": 1.0}}
            return Ops((op,), 2)
        second.set()
        await released.wait()
        return Finished("done")

    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a", {"n": 1})
        await second.wait()
        [event] = await client.get(f"/v0/runs/{run_id}/batch")
        assert event.keys() == {"data", "id", "name", "ts"}
        assert event["data"] == {"n": 1}
        actions = await client.http.get(f"/v0/runs/{run_id}/actions")
        # As in a call: numbers travel through doubles.
        stored = '{"data":{"big":9007199254740992,"x":1}}'
        assert actions.text == f'{{"{step}":{stored}}}'
        released.set()
        await client.engine.idle()
        for what in ("batch", "actions"):
            is_common_error(await client.http.get(f"/v0/runs/{run_id}/{what}"), 410)
            is_common_error(await client.http.get(f"/v0/runs/{UNKNOWN}/{what}"), 410)
            is_common_error(await client.http.get(f"/v0/runs/not-an-id/{what}"), 400)

    with_client(act, caller)


@pytest.mark.parametrize(("version", "status"), [("v0", 204), ("v1", 200)])
def test_a_run_is_cancelled_and_may_be_again(version: str, status: int) -> None:
    async def caller(call: Call) -> Reply:
        op = {"op": "Sleep", "id": "a" * 40, "name": "nap", "opts": {"duration": "1h"}}
        return Ops((op,), 2)

    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a")
        await client.engine.idle()
        for _ in range(2):
            answer = await client.http.delete(f"/{version}/runs/{run_id}")
            assert (answer.status_code, answer.content) == (status, b"")
        run = (await client.get(f"/v1/runs/{run_id}"))["data"]
        assert (run["status"], run["output"]) == ("Cancelled", {})
        assert run["ended_at"] is not None
        is_common_error(await client.http.delete(f"/{version}/runs/{UNKNOWN}"), 404)
        is_common_error(await client.http.delete(f"/{version}/runs/x"), 400)

    with_client(act, caller)


def test_a_signal_reaches_the_run_that_waits_and_nobody_is_404() -> None:
    async def caller(call: Call) -> Reply:
        if call.steps:
            return Finished(call.steps["a" * 40])
        opts = {"signal": "go", "timeout": "1h"}
        return Ops(({"op": "WaitForSignal", "id": "a" * 40, "name": "go", "opts": opts},), 2)

    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a")
        await client.engine.idle()
        answer = await client.http.post("/v1/signals", json={"signal": "go", "data": {"ok": 1}})
        assert answer.json()["data"] == {"run_id": run_id}
        await client.engine.idle()
        run = (await client.get(f"/v1/runs/{run_id}"))["data"]
        assert run["output"] == {"data": {"signal": "go", "data": {"ok": 1}}}
        is_common_error(await client.http.post("/v1/signals", json={"signal": "go"}), 404)
        for content in (b"{", b"[]", b"{}", b'{"signal":5}', b'{"signal":""}'):
            is_common_error(await client.http.post("/v1/signals", content=content), 400)

    with_client(act, caller)


async def waits(call: Call) -> Reply:
    """Waits for the signal that its event names, as the event says, and returns what came."""
    if call.steps:
        return Finished(call.steps["a" * 40])
    return Ops(({"op": "WaitForSignal", "id": "a" * 40, "opts": call.events[0].data},), 2)


@pytest.mark.parametrize(
    ("conflict", "first", "second"),
    [
        ({}, "Completed", "Failed"),
        ({"conflict": "fail"}, "Completed", "Failed"),
        ({"conflict": "replace"}, "Running", "Completed"),
    ],
)
def test_a_second_run_fails_or_takes_the_wait_for_a_signal_over(
    conflict: dict[str, str], first: str, second: str
) -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        opts = {"signal": "go", "timeout": "1h", **conflict}
        runs = []
        for _ in range(2):
            runs.append(await client.run_of("shop-a", opts))
            await client.engine.idle()
        answer = await client.http.post("/v1/signals", json={"signal": "go", "data": 1})
        assert answer.json()["data"]["run_id"] == runs[second == "Completed"]
        await client.engine.idle()
        found = [(await client.get(f"/v1/runs/{run_id}"))["data"] for run_id in runs]
        assert [run["status"] for run in found] == [first, second]
        is_common_error(await client.http.post("/v1/signals", json={"signal": "go"}), 404)
        client.clock.advance(3_600_000)
        client.engine.wake()
        await client.engine.idle()
        # Who lost the wait waits on for its timeout.
        outputs = [(await client.get(f"/v1/runs/{run_id}"))["data"]["output"] for run_id in runs]
        got = {"data": {"signal": "go", "data": 1}}
        if second == "Completed":
            assert outputs == [None, got]
        else:
            assert (outputs[0], outputs[1]["error"]["name"]) == (got, "SignalConflictError")

    with_client(act, waits)


@pytest.mark.parametrize("timeout", [{}, {"timeout": ""}, {"timeout": None}])
def test_a_signal_is_waited_for_a_year_unless_the_app_says_otherwise(
    timeout: dict[str, Any],
) -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a", {"signal": "go", **timeout})
        await client.engine.idle()
        assert client.engine.next_due_ms() == client.clock.now_ms() + 365 * 86_400_000
        client.clock.advance(365 * 86_400_000)
        client.engine.wake()
        await client.engine.idle()
        run = (await client.get(f"/v1/runs/{run_id}"))["data"]
        assert (run["status"], run["output"]) == ("Completed", None)

    with_client(act, waits)


def test_an_unknown_conflict_mode_fails_the_attempt() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a", {"signal": "go", "conflict": "skip"})
        await client.engine.idle()
        [line] = (await client.get(f"/api/runs/{run_id}"))["timeline"][:1]
        assert "conflict is 'skip'; it is 'fail' or 'replace'" in line["error"]["message"]

    with_client(act, waits)


def test_two_steps_of_one_answer_cannot_wait_for_one_signal() -> None:
    async def caller(call: Call) -> Reply:
        ops = [{"op": "WaitForSignal", "id": each * 40, "opts": {"signal": "go"}} for each in "ab"]
        return Ops(tuple(ops), 2)

    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a")
        await client.engine.idle()
        run = (await client.get(f"/v1/runs/{run_id}"))["data"]
        assert run["output"]["error"]["name"] == "SignalConflictError"

    with_client(act, caller)


# ── reading back ─────────────────────────────────────────────────────────────────────────────────


def test_events_are_listed_by_name_newest_first_and_in_pages() -> None:
    async def act(client: Client) -> None:
        ids = await client.send(*({"name": "a", "data": {"n": n}} for n in range(5)))
        await client.send({"name": "b", "user": {"id": 1}, "v": "2", "id": "mine"})
        page = await client.get("/v1/events?name=a&limit=3")
        assert [row["internal_id"] for row in page["data"]] == ids[:1:-1]
        assert page["metadata"]["fetched_at"].endswith("Z")
        rest = await client.get(f"/v1/events?name=a&limit=3&cursor={ids[2]}")
        assert [row["internal_id"] for row in rest["data"]] == ids[1::-1]
        row = page["data"][0]
        assert {"internal_id", "account_id", "environment_id", "source", "source_id"} <= row.keys()
        assert {"received_at", "id", "name", "data", "ts"} <= row.keys()
        assert not {"user", "v"} & row.keys()
        [other] = (await client.get("/v1/events?name=b"))["data"]
        assert (other["id"], other["user"], other["v"]) == ("mine", {"id": 1}, "2")

    with_client(act)


def test_events_are_filtered_by_when_they_came() -> None:
    async def act(client: Client) -> None:
        await client.send({"name": "early"})
        client.clock.advance(60_000)
        await client.send({"name": "late"})
        moment = "2023-11-14T22:13:50Z"
        after = await client.get(f"/v1/events?received_after={moment}")
        assert [row["name"] for row in after["data"]] == ["late"]
        before = await client.get("/v1/events?received_before=2023-11-14T23:13:50+01:00")
        assert [row["name"] for row in before["data"]] == ["early"]

    with_client(act)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "limit=-1", "cursor=x", "received_after=yesterday", "limit=%C2%B2"],
)
def test_a_bad_query_is_a_400(query: str) -> None:
    async def act(client: Client) -> None:
        is_common_error(await client.http.get(f"/v1/events?{query}"), 400)

    with_client(act)


def test_unknown_ids_are_404_and_malformed_ones_400() -> None:
    async def act(client: Client) -> None:
        for path in ("/v1/events/{}", "/v1/events/{}/runs", "/v1/runs/{}", "/api/runs/{}"):
            is_common_error(await client.http.get(path.format(UNKNOWN)), 404)
            for malformed in ("x", UNKNOWN[:-1], "8" + UNKNOWN[1:], "%00", UNKNOWN + "%0A"):
                is_common_error(await client.http.get(path.format(malformed)), 400)

    with_client(act)


def test_a_run_is_read_back_with_its_raw_output() -> None:
    async def act(client: Client) -> None:
        await client.register("shop-a")
        run_id = await client.run_of("shop-a", {"n": 1})
        await client.engine.idle()
        found = await client.get(f"/v1/runs/{run_id}")
        run = found["data"]
        assert run["status"] == "Completed"
        assert run["output"] == {"got": {"n": 1}}
        assert {"run_started_at", "function_version", "environment_id"} <= run.keys()
        listed = (await client.get(f"/v1/events/{run['event_id']}/runs"))["data"]
        assert listed == [run]
        functions = await client.get("/v1/apps/shop/functions")
        assert run["function_id"] == functions[0]["id"]
        assert found["metadata"].keys() == {"fetched_at"}

    with_client(act)


def test_the_command_line_reads_runs_and_one_run_whole() -> None:
    async def caller(call: Call) -> Reply:
        if call.function_id and call.events[0].data.get("fail"):
            error = {"error": "E", "name": "E", "message": "nope"}
            return Failed(error, {"message": "nope"}, retriable=False)
        return Finished("ok")

    async def act(client: Client) -> None:
        await client.register("shop-a", "shop-b")
        good = await client.run_of("shop-a")
        bad = await client.run_of("shop-b", {"fail": True})
        await client.engine.idle()
        runs = (await client.get("/api/runs"))["runs"]
        assert [run["run_id"] for run in runs] == [bad, good]
        failed = (await client.get("/api/runs?status=Failed"))["runs"]
        assert [run["run_id"] for run in failed] == [bad]
        mine = (await client.get("/api/runs?function=shop-a&limit=5"))["runs"]
        assert [(run["run_id"], run["slug"]) for run in mine] == [(good, "shop-a")]
        older = (await client.get(f"/api/runs?cursor={bad}"))["runs"]
        assert [run["run_id"] for run in older] == [good]

        whole = await client.get(f"/api/runs/{bad}")
        assert whole.keys() == {"run", "function", "events", "timeline"}
        assert whole["run"]["output"] == {"message": "nope"}
        assert whole["function"] == {"slug": "shop-b", "name": "shop-b", "app": "shop"}
        assert whole["events"][0]["name"] == "run/shop-b"
        assert whole["timeline"][-1]["status"] == "Failed"

        is_common_error(await client.http.get("/api/runs?status=Lost"), 400)
        is_common_error(await client.http.get("/api/runs?function=shop-x"), 404)

    with_client(act, caller)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_no_request_of_a_client_is_ever_a_500(method: str) -> None:
    paths = [
        *("/e/k", "/e/", "/invoke/x", "/fn/register", "/fn/remove?url=%00", "/fn/remove"),
        *("/v0/runs/x/batch", "/v0/runs/x/actions", "/v0/runs/x", "/v1/events?limit=9e9"),
        *("/v1/events/%F0%9F%98%80", "/v1/events/x/runs", "/v1/runs/x", "/v1/apps//functions"),
        *(
            "/v1/signals",
            "/v1/realtime/token",
            "/v1/realtime/publish?channel=c&topic=%FF",
            "/v1/realtime/sse?token=%FF",
            "/v1/runs/x/trace",
            "/v1/checkpoint/x/async",
            f"/v1/checkpoint/{UNKNOWN}/async",
            "/dev",
            "/health",
            "/",
            "/api/runs?limit=%FF",
            "/api/runs/x",
            "//",
        ),
    ]
    bodies = [b"", b"\xff", b"[[[", b'{"a":NaN}', json.dumps({"name": {"a": None}}).encode()]

    async def act(client: Client) -> None:
        await client.register("x")
        for path in paths:
            for body in bodies:
                answer = await client.http.request(method, path, content=body)
                assert answer.status_code < 500, (path, body, answer.text)

    with_client(act)
