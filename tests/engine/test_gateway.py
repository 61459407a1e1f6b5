"""The requests that the engine makes for apps: step.fetch and step.ai.infer."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inngest_serverless.engine.api import create_api
from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine, EngineOptions
from inngest_serverless.engine.gateway import MAX_ANSWER, HttpGateway
from inngest_serverless.engine.model import Failed, GatewayRequest

from .scripted import Flow, Scripted, Stage, Step, StepFailed, fetch, gather, hashed, infer, run
from .target import CUT_OFF, Answer, Asked, Target, as_json

ROOT = Path(__file__).parents[2]
SECRET = "sk-very-secret"
DEAD = "http://127.0.0.1:1/page"


class Play(Stage):
    """A stage, its HTTP API and the server that its functions ask."""

    target: Target
    http: httpx.AsyncClient

    async def detail(self, slug: str = "f") -> dict[str, Any]:
        answer = await self.http.get(f"/api/runs/{self.run(slug).run_id}")
        found: dict[str, Any] = answer.json()
        return found


def play(
    step: Callable[[str], Step],
    act: Callable[[Play], Awaitable[None]],
    *answers: Answer | None,
    retries: int = 0,
) -> None:
    """Run a function of this one step, made for the target's origin, and return what it gives."""

    def body(_: dict[str, Any]) -> Flow:
        try:
            value = yield step(target.origin)
        except StepFailed as error:
            return {"failed": str(error)}
        return value

    target = Target(*answers or (Answer(),))
    app = Scripted().add("f", body, retries=retries)
    staged(app, target, act)


def staged(app: Scripted, target: Target, act: Callable[[Play], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with target.serving(), app.engine(clock) as engine:
            app.register(engine)
            transport = httpx.ASGITransport(create_api(engine, clock=clock))
            async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
                stage = Play(app, engine, clock)
                stage.target, stage.http = target, http
                await asyncio.wait_for(act(stage), 20)

    asyncio.run(main())


def test_a_fetch_gives_url_status_headers_and_body() -> None:
    opts = {"method": "PUT", "headers": {"x-api-key": "k", "ACCEPT": "text/plain"}, "body": "in"}

    async def act(stage: Play) -> None:
        await stage.send("test/f")
        (asked,) = stage.target.asked
        assert (asked.method, asked.path, asked.body) == ("PUT", "/page?a=1&b=%20", b"in")
        assert asked.headers["X-Api-Key"] == "k", "names are written in title case"
        assert asked.headers["Accept"] == "text/plain"
        assert asked.headers["User-Agent"] == "Inngest"
        (memo,) = stage.steps("f").values()
        assert memo["data"]["url"] == f"{stage.target.origin}/page?a=1&b=%20"
        assert memo["data"]["status_code"] == 200
        assert memo["data"]["body"] == "grüezi"
        assert memo["data"]["headers"]["Content-Type"] == "text/plain; charset=latin-1"
        assert len(stage.app.calls) == 2

    answer = Answer(
        200, "grüezi".encode("latin-1"), {"content-type": "text/plain; charset=latin-1"}
    )
    play(lambda origin: fetch("page", f"{origin}/page?a=1&b=%20", **opts), act, answer)


def test_a_fetch_without_a_method_is_a_post() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert [asked.method for asked in stage.target.asked] == ["POST"]

    play(lambda origin: fetch("page", origin), act)


def test_a_packed_answer_is_unpacked_and_says_nothing_of_it() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        found = stage.run("f").output
        assert found["body"] == "plain"
        assert not {"Content-Encoding", "Content-Length"} & found["headers"].keys()

    packed = Answer(200, gzip.compress(b"plain"), {"content-encoding": "gzip"})
    play(lambda origin: fetch("page", origin), act, packed)


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("nope", b"x", "x"),
        ("utf-8", b"\xff", "\ufffd"),
        ("unicode_escape", rb"\ud800", "?"),
        ("hex", b"ff", "ff"),
    ],
)
def test_an_answer_in_an_odd_charset_is_kept_as_text(charset: str, body: bytes, text: str) -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert stage.run("f").output["body"] == text

    answer = Answer(200, body, {"content-type": f"text/plain; charset={charset}"})
    play(lambda origin: fetch("page", origin), act, answer)


@pytest.mark.parametrize("status", [301, 400, 404, 429])
def test_to_be_told_no_is_an_answer_to_a_fetch(status: int) -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert stage.run("f").output["status_code"] == status
        assert len(stage.target.asked) == 1

    play(lambda origin: fetch("page", origin), act, Answer(status, b"no"), retries=3)


def test_a_request_that_nobody_answers_is_made_again_like_a_step_and_then_fails_it() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        waiting = (await stage.detail())["timeline"][-1]
        assert (waiting["kind"], waiting["status"], waiting["attempt"]) == (
            "Gateway",
            "Retrying",
            1,
        )
        assert waiting["detail"]["method"] == "POST"
        assert waiting["detail"]["url"] == f"{stage.target.origin}/page"
        assert waiting["detail"]["until"] >= stage.clock.now_ms() + 15_000
        await stage.finish()
        assert len(stage.target.asked) == 3
        error = stage.steps("f")[hashed("page")]["error"]
        assert error["name"] == "GatewayError"
        assert f"{stage.target.origin}/page cannot be reached" in error["message"]
        assert stage.run("f").output == {"failed": error["message"]}
        lines = (await stage.detail())["timeline"]
        done = [(line["kind"], line["status"], line["attempt"]) for line in lines]
        failed = [("Gateway", "Failed", attempt) for attempt in range(3)]
        assert done == [*failed, ("Function", "Completed", 0)]

    play(lambda origin: fetch("page", f"{origin}/page?q=1"), act, CUT_OFF, retries=2)


def test_a_server_that_fails_is_asked_again_when_it_says() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        due = stage.engine.next_due_ms()
        assert due == stage.clock.now_ms() + 7_000
        await stage.finish()
        assert stage.run("f").output["body"] == "up"

    answers = Answer(503, b"down", {"retry-after": "7"}), Answer(200, b"up")
    play(lambda origin: fetch("page", origin), act, *answers, retries=1)


def test_a_server_that_goes_on_failing_fails_the_step_with_its_answer() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        error = stage.steps("f")[hashed("page")]["error"]
        assert error["name"] == "GatewayError"
        assert "HTTP 500" in error["message"]
        assert (error["data"]["status_code"], error["data"]["body"]) == (500, "oops")

    play(lambda origin: fetch("page", origin), act, Answer(500, b"oops"))


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        ({"url": "no url"}, "it must be http(s)://host and a path"),
        ({"url": "ftp://localhost/x"}, "it must be http(s)://host and a path"),
        ({"url": "http://a:b/"}, "the URL is none that can be called"),
        ({"headers": {"x-key": f"{SECRET}\n"}}, "holds what HTTP does not allow"),
        ({"headers": {"x-key": f"{SECRET}\u0142"}}, "holds what cannot be sent"),
        ({"method": "G ET"}, "holds what HTTP does not allow"),
    ],
)
def test_a_request_that_cannot_be_made_fails_its_step_at_once(
    opts: dict[str, Any], said: str
) -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        message = stage.run("f").output["failed"]
        assert said in message
        assert SECRET not in message

    play(lambda origin: fetch("page", **{"url": origin, **opts}), act, retries=3)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (fetch("x", ""), "without a url"),
        (fetch("x", body={"a": 1}), "the body must be a string, not dict"),
        (fetch("x", headers=[SECRET]), "headers must be an object, not list"),
        (fetch("x", headers={"a": "1", "b": [SECRET]}), "these headers must be strings: b"),
        (fetch("x", method=1), "method must be a string, not int"),
        (infer("x", "http://a", body="text"), "the body must be an object, not str"),
        (infer("x", "http://a", auth_key=[SECRET]), "auth_key must be a string, not list"),
    ],
)
def test_an_op_that_makes_no_sense_fails_the_attempt(step: Step, said: str) -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert stage.run("f").status == "Failed"
        assert said in stage.run("f").output["error"]["message"]
        assert SECRET not in json.dumps(await stage.detail())

    play(lambda _: step, act)


def test_an_answer_that_is_too_large_fails_its_step_at_once() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert f"larger than {MAX_ANSWER} bytes" in stage.run("f").output["failed"]

    play(lambda origin: fetch("page", origin), act, Answer(200, b"x" * (MAX_ANSWER + 1)), retries=3)


def test_a_request_that_takes_too_long_is_given_up_and_may_be_made_again() -> None:
    async def main() -> None:
        async with Target(Answer(held=asyncio.Event())).serving() as target:
            request = GatewayRequest("Gateway", "GET", f"{target.origin}/slow?key={SECRET}")
            reply = await HttpGateway(seconds=0.05)(request)
            target.answers[0].held.set()  # type: ignore[union-attr]  # it is an answer
            assert isinstance(reply, Failed)
            assert reply.retriable
            assert reply.error["message"] == f"{target.origin}/slow took over 0.05 s"

    asyncio.run(main())


def test_the_rest_of_a_run_goes_on_while_a_request_is_under_way() -> None:
    held = asyncio.Event()
    target = Target(Answer(200, b"late", held=held))

    def body(_: dict[str, Any]) -> Flow:
        both = yield gather(fetch("slow", target.origin), run("quick"), mode="race")
        return [both[0]["body"], both[1]]

    async def act(stage: Play) -> None:
        stage.engine.ingest([stage.engine.new_event(name="test/f", data={})])
        await target.until_asked()
        while "quick" not in stage.app.ran or len(stage.steps("f")) < 1:
            await asyncio.sleep(0)
        lines = (await stage.detail())["timeline"]
        assert ("Gateway", "Running") in [(line["kind"], line["status"]) for line in lines]
        held.set()
        await stage.engine.idle()
        assert stage.run("f").output == ["late", "quick"]

    staged(Scripted().add("f", body), target, act)


# ── redirects ────────────────────────────────────────────────────────────────────────────────────


def redirected(location: Callable[[Target, Target], str]) -> tuple[Asked, Asked]:
    """What the first and the last server of a redirected request are asked."""

    async def main() -> tuple[Asked, Asked]:
        async with Target(Answer(200, b"there")).serving() as other:
            target = Target(Answer(), Answer(200, b"there"))
            async with target.serving():
                target.answers[0] = Answer(307, b"", {"location": location(target, other)})
                secrets = {"authorization": SECRET, "x-api-key": SECRET, "accept": "text/css"}
                url = target.origin.replace("//", "//user:pass@")
                request = GatewayRequest("Gateway", "PUT", f"{url}/a", secrets, "body")
                reply = await HttpGateway()(request)
            assert not isinstance(reply, Failed)
            assert reply.value["data"]["body"] == "there"
            last = [*target.asked, *other.asked][-1]
            place = other.origin if other.asked else target.origin
            assert reply.value["data"]["url"] == place + last.path
            return target.asked[0], last

    return asyncio.run(main())


def test_a_redirect_to_the_same_server_takes_everything_along() -> None:
    _, last = redirected(lambda target, _: "/b?x=1")
    assert (last.method, last.path, last.body) == ("PUT", "/b?x=1", b"body")
    assert (last.headers["Authorization"], last.headers["X-Api-Key"]) == (SECRET, SECRET)


def test_a_redirect_to_another_server_takes_no_secret_along() -> None:
    first, last = redirected(lambda _, other: f"{other.origin}/b")
    assert first.headers["X-Api-Key"] == SECRET
    assert (last.method, last.path, last.body) == ("PUT", "/b", b"body")
    assert last.headers["Accept"] == "text/css"
    assert SECRET not in str(last)


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 302, ("GET", b"")),
        ("POST", 303, ("GET", b"")),
        ("PUT", 303, ("GET", b"")),
        ("PUT", 301, ("PUT", b"body")),
        ("POST", 308, ("POST", b"body")),
    ],
)
def test_a_redirect_is_followed_as_browsers_do(
    method: str, status: int, then: tuple[str, bytes]
) -> None:
    async def main() -> None:
        answers = Answer(status, b"", {"location": "b"}), Answer()
        async with Target(*answers).serving() as target:
            headers = {"content-type": "text/css"}
            url = f"{target.origin}/a/"
            await HttpGateway()(GatewayRequest("Gateway", method, url, headers, "body"))
            last = target.asked[1]
            assert (last.method, last.body, last.path) == (*then, "/a/b")
            assert ("Content-Type" in last.headers) == (then[0] != "GET")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("location", "said"),
    [("file:///etc/passwd", "which cannot be called"), ("http://a:b/", "to what is no URL")],
)
def test_a_redirect_that_cannot_be_followed_fails_the_step(location: str, said: str) -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert said in stage.run("f").output["failed"]

    play(lambda origin: fetch("page", origin), act, Answer(302, b"", {"location": location}))


# ── proxies ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_the_environments_proxy_is_asked_for_other_machines_only(
    variable: str, no_proxies: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Target(Answer(200, b"by proxy")).serving() as target:
            no_proxies.setenv(variable, target.origin.removeprefix("http://"))
            for url in ("http://shop.invalid/p?a=1", f"{target.origin}/p?a=1"):
                reply = await HttpGateway()(GatewayRequest("Gateway", "GET", url))
                assert not isinstance(reply, Failed)
            paths = [asked.path for asked in target.asked]
            assert paths == ["http://shop.invalid/p?a=1", "/p?a=1"]

    asyncio.run(main())


def test_a_proxy_learns_the_name_of_a_server_behind_tls_and_nothing_more(
    no_proxies: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Target(Answer(403)).serving() as target:
            no_proxies.setenv("HTTPS_PROXY", target.origin)
            request = GatewayRequest(
                "AIGateway", "POST", "https://a.invalid/x", auth_key=SECRET, format="gemini"
            )
            reply = await HttpGateway()(request)
            assert isinstance(reply, Failed)
            assert "https://a.invalid/x cannot be reached (403" in reply.error["message"]
            (asked,) = target.asked
            assert (asked.method, asked.path) == ("CONNECT", "a.invalid:443")
            assert SECRET not in str(target.asked)

    asyncio.run(main())


def test_a_proxy_that_is_none_is_said_so(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("HTTP_PROXY", "nonsense://x")
    reply = asyncio.run(HttpGateway()(GatewayRequest("Gateway", "GET", "http://shop.invalid/")))
    assert isinstance(reply, Failed)
    assert "are the proxies of the environment right?" in reply.error["message"]


def test_a_server_that_redirects_for_ever_fails_the_step() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert "more than 20 redirects" in stage.run("f").output["failed"]
        assert len(stage.target.asked) == 21

    play(lambda origin: fetch("page", origin), act, Answer(302, b"", {"location": "/"}))


# ── models ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("format", "path", "header"),
    [
        ("openai-chat", "/v1?a=1", ("Authorization", f"Bearer {SECRET}")),
        ("anything", "/v1?a=1", ("Authorization", f"Bearer {SECRET}")),
        ("anthropic", "/v1?a=1", ("X-Api-Key", SECRET)),
        ("bedrock", "/v1?a=1", ("Authorization", SECRET)),
        ("gemini", f"/v1?a=1&key={SECRET}", None),
    ],
)
def test_an_inference_is_posted_with_its_key_where_the_provider_wants_it(
    format: str, path: str, header: tuple[str, str] | None
) -> None:
    opts = {"format": format, "auth_key": SECRET, "headers": {"anthropic-version": "1"}}

    async def act(stage: Play) -> None:
        await stage.send("test/f")
        (asked,) = stage.target.asked
        assert (asked.method, asked.path) == ("POST", path)
        assert json.loads(asked.body) == {"model": "m"}
        assert asked.headers["Content-Type"] == "application/json"
        assert asked.headers["Anthropic-Version"] == "1"
        keys = {(name, value) for name, value in asked.headers.items() if SECRET in value}
        assert keys == ({header} if header else set())
        assert stage.steps("f") == {hashed("ask"): {"data": {"choices": ["hi"]}}}

    answer = as_json({"choices": ["hi"]})
    play(lambda origin: infer("ask", f"{origin}/v1?a=1", **opts), act, answer)


@pytest.mark.parametrize(
    ("status", "body", "asked"),
    [(401, {"error": "bad key"}, 1), (400, "text", 1), (429, {}, 2), (500, [], 2), (408, 1, 2)],
)
def test_an_inference_that_is_refused_fails_with_the_providers_words(
    status: int, body: Any, asked: int
) -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        await stage.finish()
        assert len(stage.target.asked) == asked
        error = stage.steps("f")[hashed("ask")]["error"]
        assert (error["name"], error["data"]) == ("AIGatewayError", body)
        assert f"HTTP {status}" in error["message"]

    answer = Answer(status, b"text") if body == "text" else as_json(body, status)
    play(lambda origin: infer("ask", origin), act, answer, retries=1)


def test_a_provider_that_does_not_answer_json_is_asked_again() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        await stage.finish()
        assert stage.run("f").output == {"fine": True}

    answers = Answer(200, b"<html>"), as_json({"fine": True})
    play(lambda origin: infer("ask", origin), act, *answers, retries=1)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", ["openai-chat", "gemini", "anthropic", "bedrock"])
@pytest.mark.parametrize("answer", [as_json({"ok": 1}), as_json({}, 500), CUT_OFF])
def test_keys_show_nowhere_whatever_happens(
    format: str, answer: Answer | None, caplog: pytest.LogCaptureFixture
) -> None:
    opts = {"format": format, "auth_key": SECRET, "headers": {"authorization": SECRET}}
    seen: list[str] = []

    async def look(stage: Play) -> None:
        run_id = stage.run("f").run_id
        for path in ("/", "/api/runs", f"/api/runs/{run_id}", f"/v1/runs/{run_id}/trace"):
            seen.append((await stage.http.get(path)).text)
        seen.append(str(stage.engine.timeline(run_id)))

    async def act(stage: Play) -> None:
        stage.engine.ingest([stage.engine.new_event(name="test/f", data={})])
        await look(stage)
        await stage.engine.idle()
        await look(stage)
        await stage.finish()
        await look(stage)
        assert SECRET in str(stage.target.asked)

    with caplog.at_level(logging.DEBUG):
        play(lambda origin: infer("ask", f"{origin}/v1", **opts), act, answer, retries=1)
    assert SECRET not in "".join(seen)
    assert SECRET not in caplog.text


def test_user_and_password_of_a_url_and_its_query_are_not_shown() -> None:
    async def act(stage: Play) -> None:
        await stage.send("test/f")
        assert stage.target.asked[0].headers["Authorization"] == "Basic dTpwdw=="
        lines = (await stage.detail())["timeline"]
        assert lines[0]["detail"]["url"] == f"{stage.target.origin}/p"
        assert "pw" not in stage.run("f").output["url"]

    def step(origin: str) -> Step:
        return fetch("page", f"{origin.replace('//', '//u:pw@')}/p?token={SECRET}")

    play(step, act)


def test_no_representation_of_a_request_holds_a_secret() -> None:
    url, headers = f"http://a/?k={SECRET}", {"x": SECRET}
    request = GatewayRequest("AIGateway", "POST", url, headers, SECRET, SECRET, "gemini")
    assert SECRET not in repr(request)


# ── after a crash ────────────────────────────────────────────────────────────────────────────────


def fetches(event: dict[str, Any]) -> Flow:
    page = yield fetch("page", event["data"].get("url", DEAD), headers={"x-key": "k"})
    return page["body"]


PROGRAM = """
import asyncio, sys
from inngest_serverless.engine.engine import Engine, EngineOptions
from tests.engine.scripted import Scripted
from tests.engine.test_gateway import fetches

async def main():
    app = Scripted().add("f", fetches)
    async with Engine(app, EngineOptions(db=sys.argv[1])) as engine:
        app.register(engine)
        engine.ingest([engine.new_event(name="test/f", data={"url": sys.argv[2]})])
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_request_that_a_killed_engine_was_making_is_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        held = asyncio.Event()
        target = Target(Answer(held=held), Answer(200, b"again"))
        async with target.serving():
            command = [sys.executable, "-c", PROGRAM, str(tmp_path / "e.db"), target.origin]
            with subprocess.Popen(command, cwd=ROOT) as process:
                try:
                    await asyncio.wait_for(target.until_asked(), 60)
                finally:
                    process.kill()
            held.set()
            app = Scripted().add("f", fetches)
            async with Engine(app, EngineOptions(db=tmp_path / "e.db")) as engine:
                await engine.idle()
                assert [row.output for row in engine.runs()] == ["again"]
        assert [asked.headers["X-Key"] for asked in target.asked] == ["k", "k"]

    asyncio.run(main())


def test_a_gateway_that_breaks_is_a_failed_request(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: GatewayRequest) -> Failed:
        raise RuntimeError("no network here")

    async def main() -> None:
        app = Scripted().add("f", fetches)
        async with Engine(app, clock=ManualClock(), gateway=broken) as engine:
            app.register(engine)
            engine.ingest([engine.new_event(name="test/f", data={})])
            await engine.idle()
            (error,) = engine.run_steps(engine.runs()[0].run_id).values()
            message = "RuntimeError: no network here"
            assert error == {"error": {"name": "GatewayError", "message": message}}

    with caplog.at_level(logging.CRITICAL):
        asyncio.run(main())
