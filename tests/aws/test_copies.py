"""A process and its copies: snapshots, forks, and the workers of Managed Instances."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from inngest_sdk import transport
from inngest_sdk.errors import UnreachableError
from inngest_sdk.http import Request
from inngest_serverless.aws import copies
from inngest_serverless.emulators.http_server import HttpRequest, HttpResponse, HttpServer
from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda
from tests.aws.door import APPS, call
from tests.emulators.listening import Switchboard

PATIENCE = 30.0
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "INNGEST_DEV": "1"}

SNAPSHOTTED = """
import random
from inngest_sdk import transport
from inngest_sdk.http import Request
from inngest_serverless import Inngest, aws
from inngest_serverless.aws import copies

transport.send(Request("GET", "{url}"), 30)
pool = transport._client
random.seed(1)
state = random.getstate()
told = []
copies.before_snapshot(lambda: told.append("forgot"))
copies.after_restore(lambda: told.append("renewed"))


def handler(event, context):
    return {{
        "told": told,
        "pool is closed": pool.is_closed,
        "pool is kept": transport._client is not None,
        "random is renewed": random.getstate() != state,
    }}
"""


def test_a_snapshot_holds_no_connection_and_its_copies_differ(tmp_path: Path) -> None:
    async def main() -> object:
        server = HttpServer(_ok)
        await server.open("127.0.0.1")
        (tmp_path / "kept.py").write_text(SNAPSHOTTED.format(url=f"http://{server.address}/"))
        config = LambdaConfig("kept.handler", SNAP_START, directory=tmp_path)
        async with LocalLambda(config, on_log=lambda line: None) as function:
            seen = await asyncio.wait_for(function.invoke({}), PATIENCE)
        await server.close()
        return seen

    assert asyncio.run(main()) == {
        "told": ["forgot", "renewed"],
        "pool is closed": True,
        "pool is kept": False,
        "random is renewed": True,
    }


def test_every_pool_is_closed_that_is_not_in_use() -> None:
    nowhere = Request("GET", "http://127.0.0.1:1/")
    loop = asyncio.new_event_loop()
    with pytest.raises(UnreachableError):
        transport.send(nowhere, PATIENCE)
    with pytest.raises(UnreachableError):
        loop.run_until_complete(transport.send_async(nowhere, PATIENCE))
    pools = [transport._client, transport._async_clients[loop][0]]
    copies.forget()
    assert [pool is not None and pool.is_closed for pool in pools] == [True, True]
    assert transport._client is None
    assert loop not in transport._async_clients
    loop.close()


async def _ok(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200)


def test_a_hook_that_fails_keeps_the_snapshot_from_being_taken(tmp_path: Path) -> None:
    source = "from inngest_serverless.aws import copies\n@copies.before_snapshot\ndef f(): 1 / 0\n"
    (tmp_path / "failing.py").write_text(f"{source}\ndef handler(event, context): ...\n")

    async def main() -> tuple[int, list[str]]:
        lines: list[str] = []
        config = LambdaConfig("failing.handler", SNAP_START, directory=tmp_path)
        async with (
            LocalLambda(config, on_log=lines.append) as function,
            httpx.AsyncClient(timeout=PATIENCE) as http,
        ):
            return (await http.get(function.url)).status_code, lines

    status, lines = asyncio.run(main())
    assert status == 502
    assert any("ZeroDivisionError" in line for line in lines)


def run(code: str, **environ: str) -> str:
    """What this code prints in a fresh Python."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        env={**os.environ, **environ},
        cwd=APPS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


FORKED = """
import json, os, sys
from inngest_sdk import drive, streaming, transport
from inngest_sdk.http import Request
from inngest_serverless import Inngest, TriggerEvent, aws

client = Inngest(app_id="shop", is_production=False)

@client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order"))
async def order(ctx):
    answer = await transport.send_async(Request("GET", {url!r}), 30)
    return [os.getpid(), answer.status]

handler = aws.serve(client)
EVENT = {{
    "version": "2.0",
    "rawPath": "/",
    "rawQueryString": "fnId=shop-order&stepId=step",
    "requestContext": {{"http": {{"method": "POST"}}}},
    "body": json.dumps({{
        "event": {{"name": "shop/order", "data": {{}}}},
        "ctx": {{"run_id": "r", "attempt": 0, "stack": {{"stack": [], "current": 0}}}},
    }}),
}}

def call():
    transport.send(Request("GET", {url!r}), 30)
    streaming._workers().submit(int).result()
    pid, status = json.loads(handler(EVENT, None)["body"])
    assert (pid, status) == (os.getpid(), 200)

call()
pool = transport._client
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        assert transport._client is None
        call()
        os._exit(0)
    children.append(child)
call()
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
call()
assert transport._client is pool and not pool.is_closed
print("whole")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_forks_shares_no_connection_loop_or_thread() -> None:
    async def main() -> str:
        server = HttpServer(_ok)
        await server.open("127.0.0.1")
        code = FORKED.format(url=f"http://{server.address}/")
        said = await asyncio.to_thread(run, code, AWS_LAMBDA_RUNTIME_API="127.0.0.1:1")
        await server.close()
        return said

    assert asyncio.run(main()).strip() == "whole"


class ManyWorkers:
    """The Runtime API of a Managed Instance: many workers ask, each event goes to one of them."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.results: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._count = 0

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            self._count += 1
            name = f"r{self._count}"
            event = await self.events.get()
            headers = (
                ("content-type", "application/json"),
                ("lambda-runtime-aws-request-id", name),
                ("lambda-runtime-deadline-ms", "4102444800000"),
                ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:f"),
                ("lambda-runtime-aws-tenant-id", "acme"),
            )
            return HttpResponse(200, headers, json.dumps(event).encode())
        self.results.put_nowait(json.loads(request.body))
        return HttpResponse(202, (("content-type", "application/json"),), b'{"status": "OK"}')


def test_the_workers_of_a_managed_instance_serve_side_by_side() -> None:
    """Three events are in three workers before any of them may end."""

    async def main() -> tuple[set[int], set[str]]:
        api = ManyWorkers()
        server = HttpServer(api.answer)
        await server.open("127.0.0.1")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "awslambdaric", "streamed.handler"),
            cwd=APPS,
            env={
                **LambdaConfig("streamed.handler", {"INNGEST_DEV": "1"}).process_environment(
                    server.address, "local/[$LATEST]1", os.environ
                ),
                "AWS_LAMBDA_MAX_CONCURRENCY": "3",
            },
            start_new_session=True,
        )
        async with Switchboard() as board:
            order = call("held", **board.order)
            event = {
                "version": "2.0",
                "rawPath": "/",
                "rawQueryString": order["url"].partition("?")[2],
                "requestContext": {"http": {"method": "POST"}},
                "body": order["content"],
            }
            for _ in range(3):
                api.events.put_nowait(event)
            pids = {await board.arrived.get() for _ in range(3)}
            board.release()
            said = {str((await api.results.get())["body"]) for _ in range(3)}
        os.killpg(process.pid, 9)
        await process.wait()
        await server.close()
        return pids, said

    pids, said = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert (len(pids), said) == (3, {'"done"'})
