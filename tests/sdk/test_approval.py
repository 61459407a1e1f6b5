"""Approvals: the links, the page behind them, and the run that waits."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Generator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from inngest_sdk import signing
from inngest_sdk.approval_link import MAX_TEXT, MAX_TITLE, Ticket, link
from inngest_sdk.drive import drive
from inngest_sdk.endpoint import Entrypoint, serve
from inngest_sdk.errors import ConfigError, UnreachableError
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless import Context, Inngest, TriggerEvent, asgi
from inngest_serverless.asgi import messages_from
from inngest_serverless.aws.http_event import V1, V2, event_from
from inngest_serverless.engine.server import DevOptions, DevServer
from tests.engine.serving import serving
from tests.sdk.exchange import Exchange, json_answer
from tests.sdk.play import FRONT, Mode, Played, app, both, define

Steps = Generator[Any, Any, Any]
TAKEN = json_answer(200, {"ids": ["01EVENT"], "status": 200})
KEY = "signkey-test-0badc0de"
OTHER = "signkey-test-deadbeef"


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def asking(mode: Mode, client: Inngest | None = None, **options: Any) -> Played:
    """A run that asks a manager and tells what it is told."""
    options = {"title": "Pay 7 EUR?", "expires": "3d", **options}

    def f(ctx: Any) -> Steps:
        approval = yield ctx.step.approval("manager", **options)
        decision = yield approval.decision()
        if decision is None:
            return "nobody decided"
        return [decision.approved, decision.by, decision.comment, decision.at.isoformat()]

    return define(both(mode, f), client)


def link_of(run: Played) -> str:
    """The link that the run makes."""
    [op] = run.ops()
    run.memo(op, {"data": op["data"]})
    url: str = op["data"]["url"]
    return url


def expiry_of(run: Played) -> float:
    [memo] = run.steps.values()
    expires: float = memo["data"]["expires"]
    return expires


def visit(
    run: Played,
    url: str,
    *answers: Response | Exception,
    method: str = "GET",
    before: float = 1,
    client: Inngest | None = None,
    form: dict[str, str] | None = None,
) -> Exchange[Response]:
    """Follow a link so many seconds before it expires, or send its form."""
    headers = {"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    request = Request(method, url, headers, urlencode(form or {}).encode())
    flow = serve(client or run.client, request, FRONT, now=expiry_of(run) - before)
    return Exchange(flow, *answers)


def text_of(response: Response) -> str:
    return response.body.decode()


def test_a_step_makes_the_link_and_a_replay_has_the_same(mode: Mode) -> None:
    run = asking(mode)
    url = link_of(run)
    assert url.startswith("http://app/api/inngest?approval=")
    [wait] = run.ops()
    assert (wait["op"], wait["displayName"]) == ("WaitForEvent", "manager:decision")
    [memo] = run.steps.values()
    approval_id = memo["data"]["id"]
    assert wait["opts"]["event"] == "approval/decided"
    assert wait["opts"]["if"] == f"async.data.id == '{approval_id}'"
    # What is left of three days, and a little for the event to come.
    assert re.fullmatch(r"(71h59m|72h)\d+s", wait["opts"]["timeout"])


def test_the_run_gets_the_decision(mode: Mode) -> None:
    run = asking(mode)
    data = {"id": "x", "approved": True, "by": "Ada", "comment": None}
    event = {"name": "approval/decided", "data": data, "ts": 1_795_347_346_000}
    told = run.finish({"manager:decision": event})
    assert told == [True, "Ada", None, "2026-11-22T11:35:46+00:00"]


def test_nobody_decides_in_time(mode: Mode) -> None:
    assert asking(mode).finish() == "nobody decided"


def test_a_decision_is_asked_for_once_however_often_it_is_looked_at(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        approval = yield ctx.step.approval("a", title="?", expires="1h")
        first = yield approval.decision()
        second = yield approval.decision()
        links = [approval.url, approval.approve_url, approval.reject_url]
        return [first, second, [link.partition("&")[2] for link in links]]

    run = define(both(mode, f))
    assert run.finish() == [None, None, ["", "choice=approve", "choice=reject"]]
    assert len(run.stack) == 2


def test_the_link_is_at_the_apps_public_url(mode: Mode) -> None:
    run = asking(mode)
    url = f"http://10.0.0.1/api?code=k&fnId={run.function.id}&stepId=step"
    body = {"ctx": {"run_id": "01RUN", "attempt": 0}, "event": {"name": "a/b"}, "steps": {}}
    front = Entrypoint("test", "test", serve_origin="https://shop.example", serve_path="/in")
    answer = drive(serve(run.client, Request("POST", url, {}, dumps(body)), front, now=0))
    made = json.loads(answer.body)[0]["data"]["url"]
    assert made.startswith("https://shop.example/in?code=k&approval=")


def test_opening_a_link_shows_what_is_asked_and_decides_nothing(mode: Mode) -> None:
    run = asking(mode, text="To <b>Bob</b>\n& Co")
    url = link_of(run)
    for each in (url, f"{url}&choice=approve", f"{url}&choice=reject"):
        page = visit(run, each)
        assert (page.result.status, page.requests) == (200, [])
        assert "<h1>Pay 7 EUR?</h1>" in text_of(page.result)
        assert "To &lt;b&gt;Bob&lt;/b&gt;\n&amp; Co" in text_of(page.result)
        assert "<script" not in text_of(page.result)
    assert visit(run, url, method="HEAD").result.status == 200


@pytest.mark.parametrize(("choice", "first"), [("approve", "Approve"), ("reject", "Reject")])
def test_a_link_may_put_one_decision_first(choice: str, first: str) -> None:
    run = asking("sync")
    page = text_of(visit(run, f"{link_of(run)}&choice={choice}").result)
    assert re.findall(r"<button[^>]*>(\w+)<", page)[0] == first


def test_the_page_is_locked_up() -> None:
    run = asking("sync")
    response = visit(run, link_of(run)).result
    [style] = re.findall(r"<style>(.*?)</style>", text_of(response), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["content-security-policy"]
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-frame-options"] == "DENY"
    assert not any(name.startswith("x-inngest") for name in response.headers)


def test_front_doors_pass_the_page_on_as_html() -> None:
    run = asking("sync", title="Größe €?")
    response = visit(run, link_of(run)).result
    start, body = messages_from(response)
    assert (b"content-type", b"text/html; charset=utf-8") in start["headers"]
    assert "Größe €?" in body["body"].decode()
    for door in (V1, V2):
        event = event_from(response, door)
        assert event["headers"]["content-type"] == "text/html; charset=utf-8"
        assert "Größe €?" in event["body"]


@pytest.mark.parametrize(("choice", "approved"), [("approve", True), ("reject", False)])
def test_the_form_sends_the_decision_as_an_event(mode: Mode, choice: str, approved: bool) -> None:
    run = asking(mode)
    fields = {"decision": choice, "by": " Ada ", "comment": "line\r\n<b>two</b>"}
    page = visit(run, link_of(run), TAKEN, method="POST", form=fields)
    [request] = page.requests
    [event] = json.loads(request.body)
    [memo] = run.steps.values()
    assert (event["name"], event["id"]) == ("approval/decided", memo["data"]["id"])
    assert event["data"] == {
        "id": memo["data"]["id"],
        "approved": approved,
        "by": "Ada",
        "comment": "line\n<b>two</b>",
    }
    assert page.result.status == 200
    assert f"<strong>{choice}" in text_of(page.result)
    assert "&lt;b&gt;two&lt;/b&gt;" in text_of(page.result)


def test_decisions_of_one_link_carry_one_event_id() -> None:
    run = asking("sync")
    url = link_of(run)
    pages = [
        visit(run, url, TAKEN, method="POST", form={"decision": choice})
        for choice in ("approve", "reject")
    ]
    ids = {json.loads(page.requests[0].body)[0]["id"] for page in pages}
    assert len(ids) == 1


def test_the_longest_text_of_a_browser_is_taken_and_no_longer() -> None:
    run = asking("sync")
    url = link_of(run)
    fits = {"decision": "approve", "by": "ü" * 100, "comment": "ü\r\n" * 1000}
    assert visit(run, url, TAKEN, method="POST", form=fits).result.status == 200
    for field, text in (("by", "x" * 101), ("comment", "x" * 2001), ("comment", "x" * 40_000)):
        fields = {"decision": "approve", field: text}
        assert visit(run, url, method="POST", form=fields).result.status == 413


@pytest.mark.parametrize("fields", [{}, {"decision": "maybe"}, {"by": "x"}])
def test_a_form_that_decides_nothing_is_refused(fields: dict[str, str]) -> None:
    run = asking("sync")
    assert visit(run, link_of(run), method="POST", form=fields).result.status == 400


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"decision": "approve"}'),
        ("application/x-www-form-urlencoded", b"decision=approve&by=%FF"),
        ("application/x-www-form-urlencoded", b"decision=approve&by=\xff"),
        ("application/x-www-form-urlencoded", b"&".join([b"decision=approve"] * 11)),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    run = asking("sync")
    request = Request("POST", link_of(run), {"content-type": kind}, body)
    flow = serve(run.client, request, FRONT, now=expiry_of(run) - 1)
    assert Exchange(flow).result.status == 400


def test_a_decision_that_was_not_sent_says_so(caplog: pytest.LogCaptureFixture) -> None:
    run = asking("sync")
    failures = [UnreachableError("no answer") for _ in range(5)]
    page = visit(run, link_of(run), *failures, method="POST", form={"decision": "approve"})
    assert page.result.status == 502
    assert "could not be recorded" in text_of(page.result)
    assert "no answer" not in text_of(page.result)
    assert "no answer" in caplog.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_ends_when_it_expires(method: str) -> None:
    run = asking("sync")
    page = visit(run, link_of(run), method=method, before=0, form={"decision": "approve"})
    assert page.result.status == 410
    assert "This link has expired." in text_of(page.result)
    assert "Pay 7 EUR" not in text_of(page.result)


def token_of(url: str) -> str:
    [token] = parse_qs(urlsplit(url).query)["approval"]
    return token


def forged_tokens(token: str) -> list[str]:
    payload, mac = token.split(".")
    fields = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    later = dumps([*fields[:2], fields[2] + 9, *fields[3:]])
    longer = base64.urlsafe_b64encode(later).rstrip(b"=").decode()
    plain = hmac.new(b"0badc0de", payload.encode(), hashlib.sha256).digest()
    unseparated = base64.urlsafe_b64encode(plain).rstrip(b"=").decode()
    signed = signing.sign(KEY, payload.encode(), 1).partition("&s=")[2]
    return [
        *["", ".", "a.b", "é.ü", "\ud800.x", token[:-1], f"{token}A", payload, "x" * 3000],
        *[f"{longer}.{mac}", f"{payload}.", f"{payload}.{unseparated}", f"{payload}.{signed}"],
        *[f"{payload}=.{mac}", f"{payload}.{mac}="],
    ]


@pytest.mark.parametrize("place", range(15))
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_link_that_is_not_ours_is_told_nothing_but_that(place: int, method: str) -> None:
    run = asking("sync", app(signing_key=KEY))
    token = forged_tokens(token_of(link_of(run)))[place]
    url = f"http://app/api/inngest?{urlencode({'approval': token}, errors='replace')}"
    page = visit(run, f"{url}&fnId={run.function.id}&probe=trust", method=method)
    assert page.result.status == 403
    assert "This link is not valid." in text_of(page.result)
    assert page.requests == []


@pytest.mark.parametrize("fields", [[2, "id"], [1, "id"], {}, 1])
def test_a_link_of_another_version_is_not_ours(fields: object) -> None:
    run = asking("sync", app(signing_key=KEY))
    url = link_of(run)

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    purpose = b"inngest-serverless approval link\nshop"
    key = hmac.digest(b"0badc0de", purpose, hashlib.sha256)

    def signed(payload: str) -> str:
        return f"{payload}.{encoded(hmac.digest(key, payload.encode(), hashlib.sha256))}"

    ours = token_of(url)
    assert signed(ours.partition(".")[0]) == ours
    other = url.replace(ours, signed(encoded(dumps(fields))))
    assert visit(run, other).result.status == 403


def test_a_link_of_another_key_or_app_is_not_ours() -> None:
    run = asking("sync", app(signing_key=KEY))
    url = link_of(run)
    for stranger in (
        app(),
        app(signing_key=OTHER),
        Inngest(app_id="other", is_production=False, signing_key=KEY),
    ):
        assert visit(run, url, client=stranger).result.status == 403
    production = Inngest(app_id="shop", is_production=True, signing_key=KEY)
    assert visit(run, url, client=production).result.status == 200


def test_links_stay_valid_while_the_key_is_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    run = asking("sync", app(signing_key=KEY))
    url = link_of(run)
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", KEY)
    assert visit(run, url, client=app(signing_key=OTHER)).result.status == 200


def test_links_of_dev_mode_are_worth_nothing_in_production() -> None:
    run = asking("sync")
    url = link_of(run)
    for client in (Inngest(app_id="shop", is_production=True), app(signing_key=KEY)):
        assert visit(run, url, client=client).result.status == 403


def test_without_a_signing_key_there_are_no_links_in_production() -> None:
    client = Inngest(app_id="shop", is_production=True)
    with pytest.raises(ConfigError, match="set INNGEST_SIGNING_KEY"):
        link(client, [], "https://app", Ticket("id", 1, "t", ""))


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_nothing_else_of_the_app_is_reached_through_a_link(method: str) -> None:
    run = asking("sync")
    page = visit(run, f"{link_of(run)}&fnId={run.function.id}&stepId=step", method=method)
    assert (page.result.status, page.requests) == (405, [])


def test_the_longest_link_is_short_enough_for_mail() -> None:
    url = link_of(asking("sync", title="t" * MAX_TITLE, text="ü" * (MAX_TEXT // 2)))
    assert len(url) < 1200


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"title": "ü" * 61}, "the title of approval 'manager' has 122 bytes of UTF-8"),
        ({"text": "x" * 501}, "the text of approval 'manager' has 501 bytes"),
        ({"expires": "367d"}, "expires of approval 'manager'"),
        ({"expires": 0}, "expires of approval 'manager'"),
        ({"expires": "soon"}, "is not a duration"),
    ],
)
def test_what_cannot_be_in_a_link_is_refused(mode: Mode, options: Any, problem: str) -> None:
    answer = asking(mode, **options).call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert problem in json.loads(answer.body)["message"]


def test_a_run_waits_as_long_as_a_wait_may_last(mode: Mode) -> None:
    run = asking(mode, expires="366d")
    link_of(run)
    assert run.ops()[0]["opts"]["timeout"].startswith(("8784h", "8783h59m"))


def test_somebody_approves_and_the_run_goes_on() -> None:
    """Through the engine, ASGI and loopback HTTP, in both kinds of function."""
    links: asyncio.Queue[str] = asyncio.Queue()

    def define_functions(client: Inngest, loop: asyncio.AbstractEventLoop) -> None:
        @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
        async def f(ctx: Context) -> Any:
            approval = await ctx.step.approval("manager", title="Go?", expires="1h")
            _, decision = await asyncio.gather(
                ctx.step.run("mail", links.put, approval.url), approval.decision()
            )
            return decision and [decision.approved, decision.by, decision.comment]

        @client.create_function(fn_id="g", trigger=TriggerEvent(event="a/b"))
        def g(ctx: Any) -> Any:
            approval = ctx.step.approval("manager", title="Go?", expires="1h")

            def mail() -> None:
                asyncio.run_coroutine_threadsafe(links.put(approval.url), loop).result()

            _, decision = ctx.group.parallel(
                (lambda: ctx.step.run("mail", mail), approval.decision)
            )
            return decision and [decision.approved, decision.by, decision.comment]

    async def go() -> None:
        options = DevOptions(port=0, discovery=False, poll_seconds=0, retry_interval_ms=10)
        async with DevServer(options) as engine:
            origin = engine.url
            client = Inngest(
                app_id="shop", is_production=False, api_base_url=origin, event_api_base_url=origin
            )
            define_functions(client, asyncio.get_running_loop())
            async with serving(asgi.serve(client)) as url:
                assert await engine.sync.sync(f"{url}/api/inngest") is None
                event = engine.engine.new_event(name="a/b", data={})
                engine.engine.ingest([event])
                async with httpx.AsyncClient() as browser:
                    for _ in range(2):
                        mailed = await links.get()
                        assert "Go?" in (await browser.get(mailed)).text
                        for choice in ("approve", "reject"):  # the first decision counts
                            form = {"decision": choice, "by": "Ada", "comment": ""}
                            assert (await browser.post(mailed, data=form)).status_code == 200
                while any(run.ended_ms is None for run in engine.engine.runs()):
                    await asyncio.sleep(0.01)
                outputs = [run.output for run in engine.engine.runs_of_event(event.internal_id)]
                assert outputs == [[True, "Ada", None]] * 2

    asyncio.run(go())
