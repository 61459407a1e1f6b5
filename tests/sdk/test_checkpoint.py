"""Checkpoints: many steps in one call, and nothing lost when the server does not take them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from inngest_sdk import signing, wire
from inngest_sdk.checkpoint import Checkpointing, Checkpoints
from inngest_sdk.checkpoint import Server as Endpoint
from inngest_sdk.effects import Fetch, Flow
from inngest_sdk.steps import hash_id
from inngest_serverless import (
    Context,
    Event,
    FunctionConfigInvalidError,
    MiddlewareSync,
    StepError,
    StepMemos,
    TransformOutputResult,
)
from tests.captures.recorded import exchanges
from tests.sdk.play import Mode, Played, app, both, define

Steps = Generator[Any, Any, Any]
# What a server says of a call that may have checkpoints.
WHO = {"fn_id": "d10fb288", "qi_id": "MmQwM21q", "request_id": "01REQ", "generation_id": 3}


@dataclass
class Server:
    """Takes checkpoints, or answers with the statuses that a test scripts."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def saved(self) -> list[list[str]]:
        """The names of the steps in each post."""
        return [[op["displayName"] for op in body["steps"]] for body in self.bodies]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            made.bodies.append(json.loads(self.rfile.read(length)))
            made.keys.append(self.headers.get("authorization"))
            made.paths.append(self.path)
            self.send_response(made.statuses.pop(0) if made.statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as http:
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        made.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield made
        http.shutdown()


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def connected(
    server: Server, handler: Callable[[Any], Any], client: Any = None, **options: Any
) -> Played:
    run = define(handler, client or app(api_base_url=server.url), **options)
    run.now = time.time()
    return run


def note(ran: list[str], name: str) -> str:
    ran.append(name)
    return name


def counting(ran: list[str], *names: str) -> Callable[[Any], Steps]:
    """A function of these steps, one after the other, that returns what they return."""

    def f(ctx: Any) -> Steps:
        found = []
        for name in names:
            found.append((yield ctx.step.run(name, note, ran, name)))
        return found

    return f


def reported(answer: Any) -> list[tuple[str, str]]:
    if answer.status == 200:
        return [("RunComplete", "")]
    return [(op["op"], op.get("displayName", "")) for op in json.loads(answer.body)]


def test_n_steps_are_one_call(mode: Mode, server: Server) -> None:
    ran: list[str] = []
    run = connected(server, both(mode, counting(ran, "a", "b", "c", "d", "e")))
    answer = run.call(ctx=WHO)
    assert (answer.status, json.loads(answer.body)) == (200, ["a", "b", "c", "d", "e"])
    assert server.saved == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert ran == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("where", ["client", "function"])
def test_without_checkpoints_n_steps_are_n_plus_one_calls(
    mode: Mode, server: Server, where: str
) -> None:
    handler = both(mode, counting([], "a", "b", "c"))
    client = app(api_base_url=server.url, checkpointing=where != "client")
    options = {"checkpointing": False} if where == "function" else {}
    run = define(handler, client, **options)
    calls = 0
    while (answer := run.call(ctx=WHO)).status != 200:
        calls += 1
        [op] = json.loads(answer.body)
        run.memo(op, {"data": op["data"]})
    assert calls == 3
    assert server.bodies == []


def test_a_post_says_which_call_it_belongs_to(mode: Mode, server: Server) -> None:
    run = connected(server, both(mode, counting([], "a")))
    run.call(ctx=WHO)
    [body] = server.bodies
    recorded = next(
        json.loads(each.request.body)
        for each in exchanges("js-dev")
        if "/checkpoint/" in each.request.url
    )
    assert body.keys() == recorded.keys()
    assert server.paths == ["/v1/checkpoint/01RUN/async"]
    assert body | {"run_id": "01RUN", **WHO} == body
    assert body["request_started_at"] == int(run.now * 1000)
    assert body["steps"][0]["id"] == hash_id("a")
    assert (body["steps"][0]["op"], body["steps"][0]["data"]) == ("StepRun", "a")


def recorded_run(name: str) -> tuple[list[str], list[list[str]], int]:
    """Of the one run of a recorded function: its id, the steps in each post, the calls."""
    runs, posts, calls = set(), [], 0
    for each in exchanges("js-dev"):
        if f"fnId={name}&" in each.request.url:
            runs.add(json.loads(each.request.body)["ctx"]["run_id"])
            calls += 1
    for each in exchanges("js-dev"):
        if any(f"/checkpoint/{run}/" in each.request.url for run in runs):
            posts.append([op["displayName"] for op in json.loads(each.request.body)["steps"]])
    return sorted(runs), posts, calls


@pytest.mark.parametrize(
    ("name", "buffered", "sequence"),
    [
        ("js-ckpt", 1, ["s0", "s1", "s2", "s3", "s4", None, "t"]),  # None: a sleep
        ("js-ckpt-buf", 3, ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]),
    ],
)
def test_posts_and_calls_are_those_of_a_recorded_run(
    mode: Mode, server: Server, name: str, buffered: int, sequence: list[str | None]
) -> None:
    def f(ctx: Any) -> Steps:
        for step in sequence:
            yield ctx.step.run(step, str) if step else ctx.step.sleep("nap", "1s")

    run = connected(server, both(mode, f), checkpointing=Checkpointing(buffered_steps=buffered))
    for _ in range(10):
        answer = run.call(ctx=WHO)
        if reported(answer)[-1][0] != "Sleep":
            break
        for op in [op for body in server.bodies for op in body["steps"]]:
            run.memo(op, {"data": op["data"]})
        run.memo(json.loads(answer.body)[0], None)
    runs, posts, calls = recorded_run(name)
    assert len(runs) == 1
    assert (server.saved, len(run.calls)) == (posts, calls)


def test_buffered_steps_go_out_together_and_the_rest_with_the_result(
    mode: Mode, server: Server
) -> None:
    policy = Checkpointing(buffered_steps=2)
    handler = both(mode, counting([], "a", "b", "c", "d", "e"))
    answer = connected(server, handler, checkpointing=policy).call(ctx=WHO)
    assert server.saved == [["a", "b"], ["c", "d"]]
    assert answer.status == 206
    assert reported(answer) == [("StepRun", "e"), ("RunComplete", "")]
    assert json.loads(answer.body)[1]["data"] == ["a", "b", "c", "d", "e"]
    assert json.loads(answer.body)[1]["id"] == hash_id("complete")


def test_an_interval_sends_what_is_buffered(mode: Mode, server: Server) -> None:
    policy = Checkpointing(buffered_steps=100, max_interval=1)
    run = connected(server, both(mode, counting([], "a")), checkpointing=policy)
    run.now -= 1  # the call began a second ago
    assert run.call(ctx=WHO).status == 200
    assert server.saved == [["a"]]


def test_a_stale_call_stops_and_reports_nothing(mode: Mode, server: Server) -> None:
    ran: list[str] = []
    server.statuses = [200, 409]
    answer = connected(server, both(mode, counting(ran, "a", "b", "c"))).call(ctx=WHO)
    assert (answer.status, json.loads(answer.body)) == (206, [])
    assert ran == ["a", "b"]


@pytest.mark.parametrize("status", [400, 413, 500])
def test_steps_that_the_server_did_not_take_travel_in_the_answer(
    mode: Mode, server: Server, status: int
) -> None:
    ran: list[str] = []
    server.statuses = [200, *[status] * 3]
    run = connected(server, both(mode, counting(ran, "a", "b", "c")))
    assert reported(run.call(ctx=WHO)) == [("StepRun", "b")]
    assert ran == ["a", "b"]


def test_a_server_that_cannot_be_reached_takes_nothing_away(mode: Mode) -> None:
    ran: list[str] = []
    client = app(api_base_url="http://127.0.0.1:9")
    run = define(both(mode, counting(ran, "a", "b")), client)
    assert reported(run.call(ctx=WHO)) == [("StepRun", "a")]
    assert ran == ["a"]


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_checkpoints_is_asked_once(
    mode: Mode, server: Server, status: int
) -> None:
    server.statuses = [status]
    run = connected(server, both(mode, counting([], "a", "b")))
    assert reported(run.call(ctx=WHO)) == [("StepRun", "a")]
    assert reported(run.call(ctx=WHO)) == [("StepRun", "a")]
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("ctx", "options"),
    [
        ({**WHO, "fn_id": None}, {}),
        ({**WHO, "qi_id": None}, {}),
        (WHO, {"attempt": 1}),
        (WHO, {"step": hash_id("a")}),
    ],
)
def test_calls_that_may_not_have_checkpoints_have_none(
    mode: Mode, server: Server, ctx: Any, options: dict[str, Any]
) -> None:
    run = connected(server, both(mode, counting([], "a", "b")))
    assert reported(run.call(ctx=ctx, **options)) == [("StepRun", "a")]
    assert server.bodies == []


def test_a_call_that_plans_has_no_checkpoints(mode: Mode, server: Server) -> None:
    run = connected(server, both(mode, counting([], "a", "b")))
    assert reported(run.call(ctx=WHO, planning=True)) == [("StepPlanned", "a")]
    assert server.bodies == []


def test_a_failed_step_is_told_alone_after_those_that_ran(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("good", lambda: 1)
        yield ctx.step.run("bad", lambda: 1 / 0)

    policy = Checkpointing(buffered_steps=10)
    answer = connected(server, both(mode, f), checkpointing=policy).call(ctx=WHO)
    assert server.saved == [["good"]]
    assert reported(answer) == [("StepError", "bad")]


def test_an_error_of_the_function_waits_until_its_steps_are_told(
    mode: Mode, server: Server
) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("good", lambda: 1)
        raise ValueError("after")

    policy = Checkpointing(buffered_steps=10)
    run = connected(server, both(mode, f), checkpointing=policy)
    assert run.call(ctx=WHO).status == 500
    assert server.saved == [["good"]]
    server.statuses = [400]
    assert reported(run.call(ctx=WHO)) == [("StepRun", "good")]


def test_a_sleep_and_parallel_steps_end_the_call(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1)
        yield ctx.group.parallel(
            (lambda: ctx.step.run("p", lambda: 1), lambda: ctx.step.sleep("s", 1000))
        )

    policy = Checkpointing(buffered_steps=10)
    answer = connected(server, both(mode, f), checkpointing=policy).call(ctx=WHO)
    assert server.saved == [["a"]]
    assert reported(answer) == [("StepPlanned", "p"), ("Sleep", "s")]


def test_a_value_is_the_same_at_once_as_on_replay(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        found = yield ctx.step.run("pair", lambda: {1: (2, 3)})
        return [found == {"1": [2, 3]}]

    assert json.loads(connected(server, both(mode, f)).call(ctx=WHO).body) == [True]


def test_a_step_error_that_is_memoized_is_raised_among_steps_that_run(
    mode: Mode, server: Server
) -> None:
    def f(ctx: Any) -> Steps:
        message = ""
        try:
            yield ctx.step.run("bad", lambda: 1)
        except StepError as error:
            message = error.message
        return (yield ctx.step.run("plan b", lambda: message))

    run = connected(server, both(mode, f))
    run.memo({"id": hash_id("bad")}, {"error": {"name": "E", "message": "m"}})
    assert json.loads(run.call(ctx=WHO).body) == "m"


def test_nothing_is_posted_when_the_platform_leaves_no_time_for_it(
    mode: Mode, server: Server
) -> None:
    ran: list[str] = []
    run = connected(server, both(mode, counting(ran, "a", "b")))
    run.deadline = run.now + 0.4  # within the margin
    assert reported(run.call(ctx=WHO)) == [("StepRun", "a")]
    assert ran == ["a"]
    assert server.saved == []


def played(flow: Flow[Any], *answers: Any) -> Any:
    """Perform a flow by hand: what it asked for, and what it came to."""
    asked = [next(flow)]
    try:
        for answer in answers:
            asked.append(flow.send(answer))
    except StopIteration as stop:
        return stop.value
    return asked[-1]


@pytest.mark.parametrize(
    ("took", "now", "starts"),
    [(1.0, 12.9, True), (1.0, 13.1, False), (5.0, 6.9, True), (5.0, 7.1, False), (0.0, 14.4, True)],
)
def test_a_step_starts_if_one_half_longer_than_the_longest_would_end_in_time(
    took: float, now: float, starts: bool
) -> None:
    """The platform kills the call at 15; the answer is to be on its way half a second before."""
    call = wire.Call("r", 0, 4, Event(name="a/b"), (), {}, fn_uuid="f", qi_id="q")
    policy = Checkpointing(buffered_steps=9)
    checkpoints = Checkpoints(Endpoint(app().config), call, policy, 0.0, deadline=15.0)
    assert played(checkpoints.begin_step(), 0.0) is True
    assert played(checkpoints.end_step({"op": "StepRun"}, 1), took) is True
    assert played(checkpoints.begin_step(), now) is starts


def test_a_post_leaves_time_for_the_answer() -> None:
    call = wire.Call("r", 0, 4, Event(name="a/b"), (), {}, fn_uuid="f", qi_id="q")
    checkpoints = Checkpoints(Endpoint(app().config), call, Checkpointing(), 0.0, deadline=15.0)
    played(checkpoints.begin_step(), 0.0)
    asked = played(checkpoints.end_step({"op": "StepRun"}, 1), 8.5)
    assert isinstance(asked, Fetch)
    assert asked.timeout == 2.0  # three tries in the six seconds until 14.5


def test_large_values_are_posted_before_they_are_many(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        for n in range(3):
            yield ctx.step.run(f"s{n}", lambda: "x" * 600_000)
        return "y" * 600_000

    policy = Checkpointing(buffered_steps=10)
    run = connected(server, both(mode, f), checkpointing=policy)
    answer = run.call(ctx=WHO)
    assert answer.status == 200
    assert server.saved == [["s0", "s1"], ["s2"]]


def test_a_result_that_cannot_travel_takes_no_steps_with_it(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1)
        return {1, 2}

    policy = Checkpointing(buffered_steps=10)
    answer = connected(server, both(mode, f), checkpointing=policy).call(ctx=WHO)
    assert (answer.status, json.loads(answer.body)["name"]) == (500, "OutputUnserializableError")
    assert server.saved == [["a"]]


def test_no_step_starts_after_the_longest_runtime(mode: Mode, server: Server) -> None:
    policy = Checkpointing(max_runtime=10_000)
    run = connected(server, both(mode, counting([], "a", "b")), checkpointing=policy)
    run.now -= 11
    assert reported(run.call(ctx=WHO)) == [("StepPlanned", "b")]


def test_a_refused_key_is_followed_by_the_fallback(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = "signkey-test-" + "ab" * 32, "signkey-test-" + "cd" * 32
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", other)
    server.statuses = [401]
    client = app(api_base_url=server.url, signing_key=key)
    run = define(both("sync", counting([], "a")), client)
    assert run.call(ctx=WHO).status == 200
    assert server.keys == [f"Bearer {signing.hashed(key)}", f"Bearer {signing.hashed(other)}"]


def test_context_managers_stay_open_from_step_to_step(server: Server) -> None:
    log = []

    async def f(ctx: Context) -> None:
        log.append("open")
        try:
            await ctx.step.run("a", lambda: log.append("a"))
            await ctx.step.run("b", lambda: log.append("b"))
        finally:
            log.append("close")

    connected(server, f).call(ctx=WHO)
    assert log == ["open", "a", "b", "close"]


def test_a_step_of_another_task_goes_on_too(server: Server) -> None:
    async def f(ctx: Context) -> list[int]:
        async def two() -> list[int]:
            return [await ctx.step.run("a", lambda: 1), await ctx.step.run("b", lambda: 2)]

        return await asyncio.create_task(two())

    answer = connected(server, f).call(ctx=WHO)
    assert json.loads(answer.body) == [1, 2]
    assert server.saved == [["a"], ["b"]]


@pytest.mark.parametrize(
    "arguments",
    [
        {"buffered_steps": 0},
        {"max_interval": "soon"},
        {"max_runtime": -1},
        {"buffered_steps": True},
    ],
)
def test_a_wrong_policy_fails_where_it_is_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(FunctionConfigInvalidError, match=next(iter(arguments))):
        Checkpointing(**arguments)


class Shouting(MiddlewareSync):
    """Upper case on the server, lower case in the function."""

    reversible: ClassVar[bool] = True

    def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        for memo in steps.values():
            if memo.data is not None:
                memo.data = memo.data.lower()

    def transform_output(self, result: TransformOutputResult) -> None:
        if isinstance(result.output, str):
            result.output = result.output.upper()


def test_what_can_be_changed_back_is_handed_on(mode: Mode, server: Server) -> None:
    def f(ctx: Any) -> Steps:
        first = yield ctx.step.run("a", lambda: "one")
        second = yield ctx.step.run("b", lambda: first + "two")
        yield ctx.step.sleep("nap", "1s")
        return first + second

    run = connected(
        server, both(mode, f), client=app(api_base_url=server.url, middleware=[Shouting])
    )
    [nap] = run.ops(ctx=WHO)
    told = [op for body in server.bodies for op in body["steps"]]
    assert [op["data"] for op in told] == ["ONE", "ONETWO"]
    for op in told:
        run.memo(op, {"data": op["data"]})
    run.memo(nap, None)
    assert json.loads(run.call().body) == "ONEONETWO"
