"""Large results are kept in a store of the app's own; the server has references."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from inngest_sdk.steps import hash_id
from inngest_serverless import ConfigError
from inngest_serverless.integrations.encryption import EncryptionMiddleware
from inngest_serverless.integrations.offload import (
    GCS,
    S3,
    AzureBlob,
    Folder,
    Offload,
    Store,
)
from tests.integrations.blob_service import blob_service
from tests.sdk.play import Mode, Played, app, both, define
from tests.sdk.test_checkpoint import WHO, Server

Steps = Generator[Any, Any, Any]
BIG = {"text": "é" * 200_000}  # 400 kB of UTF-8
TEXT = json.dumps(BIG, ensure_ascii=False, separators=(",", ":")).encode()
HASH = hashlib.sha256(TEXT).hexdigest()
REFERENCE = {"__OFFLOADED__": 1, "sha256": HASH, "bytes": len(TEXT), "store": "file"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "state")


def played(mode: Mode, body: Any, *middleware: Any, **options: Any) -> Played:
    return define(both(mode, body), app(middleware=middleware, **options))


def kept(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.path.glob("*"))


def one_big(ctx: Any) -> Steps:
    found = yield ctx.step.run("big", lambda: BIG)
    yield ctx.step.run("small", lambda: 1)
    return found == BIG


def test_a_large_result_goes_to_the_store_and_comes_back(mode: Mode, folder: Folder) -> None:
    run = played(mode, one_big, Offload(folder))
    assert run.finish() is True
    assert run.steps == {
        hash_id("big"): {"data": REFERENCE},
        hash_id("small"): {"data": 1},
    }
    assert (folder.path / HASH).read_bytes() == TEXT


def test_a_function_goes_on_after_a_step_whose_result_is_offloaded(
    mode: Mode, folder: Folder, server: Server
) -> None:
    run = played(mode, one_big, Offload(folder), api_base_url=server.url)
    run.now = time.time()
    answer = run.call(ctx=WHO)
    assert (answer.status, json.loads(answer.body)) == (200, True)
    assert server.saved == [["big"], ["small"]]
    assert server.bodies[0]["steps"][0]["data"] == REFERENCE


@pytest.mark.parametrize(("size", "offloaded"), [(98, False), (99, True)])
def test_the_threshold_counts_bytes_of_json(folder: Folder, size: int, offloaded: bool) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: "x" * size)

    [op] = played("sync", f, Offload(folder, threshold=100)).ops()
    assert isinstance(op["data"], dict) is offloaded


def test_a_result_over_the_servers_limit_is_no_error(mode: Mode, folder: Folder) -> None:
    def f(ctx: Any) -> Steps:
        return len((yield ctx.step.run("a", lambda: "x" * 5_000_000)))

    assert played(mode, f, Offload(folder)).finish() == 5_000_000


@pytest.mark.parametrize("results", [False, True])
def test_function_results_are_offloaded_only_if_asked(
    mode: Mode, folder: Folder, results: bool
) -> None:
    def f(ctx: Any) -> Steps:
        yield from ()
        return BIG

    assert played(mode, f, Offload(folder, results=results)).finish() == (
        REFERENCE if results else BIG
    )


def test_the_result_of_an_invoked_function_is_fetched(mode: Mode, folder: Folder) -> None:
    def f(ctx: Any) -> Steps:
        found = yield ctx.step.invoke_by_id("i", app_id="o", function_id="g")
        return found == BIG

    folder.put(HASH, TEXT)
    run = played(mode, f, Offload(folder))
    assert run.finish({"i": {"data": REFERENCE}}) is True


class Meeting:
    """A store that gives two objects only when both are asked for, and never on `thread`."""

    name = "meeting://"

    def __init__(self) -> None:
        self.both = threading.Barrier(2)
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def put(self, key: str, body: bytes) -> None:
        self.threads.add(threading.get_ident())
        self.bodies[key] = body

    def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        self.both.wait(30)
        return self.bodies[key]


def test_what_a_call_needs_is_fetched_once_and_side_by_side(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        found = []
        for name, value in (("a", "x"), ("b", "y"), ("c", "x")):
            found.append((yield ctx.step.run(name, lambda value=value: value * 500)))
        return [each[0] for each in found]

    store = Meeting()
    run = played(mode, f, Offload(store, threshold=100))
    for name, value in (("a", "x"), ("b", "y"), ("c", "x")):
        body = json.dumps(value * 500).encode()
        key = hashlib.sha256(body).hexdigest()
        store.bodies[key] = body
        memo = {"__OFFLOADED__": 1, "sha256": key, "bytes": len(body), "store": "meeting"}
        run.memo({"id": hash_id(name)}, {"data": memo})
    assert run.finish() == ["x", "y", "x"]
    assert sorted(store.asked) == sorted(store.bodies)


def test_an_async_function_does_not_wait_for_the_store_on_its_loop() -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: "x" * 500)

    store = Meeting()
    for mode in ("sync", "async"):
        played(mode, f, Offload(store, threshold=100)).ops()
        here = threading.get_ident() in store.threads
        assert here is (mode == "sync")
        store.threads.clear()


def test_a_store_that_takes_nothing_is_an_error_of_the_step(mode: Mode, folder: Folder) -> None:
    folder.path.write_text("no folder")
    run = played(mode, one_big, Offload(folder))
    [op] = run.ops()
    assert (op["op"], op["error"]["name"]) == ("StepError", "OffloadError")
    assert op["error"]["message"].startswith(
        f"step 'big' has run, but {folder.path.as_uri()} did not take its result of 400,011 bytes"
    )
    folder.path.unlink()
    assert run.finish() is True


def test_an_object_that_is_gone_is_a_final_error(mode: Mode, folder: Folder) -> None:
    run = played(mode, one_big, Offload(folder))
    run.memo({"id": hash_id("big")}, {"data": {**REFERENCE, "store": "s3"}})
    answer = run.call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "true")
    assert json.loads(answer.body)["message"] == (
        f"the result of a step (its hash is {hash_id('big')}), object {HASH} of "
        f"{folder.path.as_uri()}, is not there; it was put into a store of kind 's3'. Was it "
        "deleted while the run was open, or is this another store?"
    )


def test_an_object_that_has_changed_is_a_final_error(mode: Mode, folder: Folder) -> None:
    run = played(mode, one_big, Offload(folder))
    run.memo(run.ops()[0], {"data": REFERENCE})
    (folder.path / HASH).write_bytes(b"{}")
    answer = run.call()
    error = json.loads(answer.body)
    assert (error["name"], answer.headers["x-inngest-no-retry"]) == ("OffloadLostError", "true")
    assert f"object {HASH}" in error["message"]
    assert "2 bytes with another hash, and had 400011" in error["message"]


def test_a_store_that_gives_nothing_for_now_is_asked_again(mode: Mode, folder: Folder) -> None:
    run = played(mode, one_big, Offload(folder))
    run.memo(run.ops()[0], {"data": REFERENCE})
    (folder.path / HASH).unlink()
    (folder.path / HASH).mkdir()
    answer = run.call()
    error = json.loads(answer.body)
    assert (error["name"], answer.headers["x-inngest-no-retry"]) == ("OffloadError", "false")
    assert "could not be fetched" in error["message"]


def test_a_result_that_looks_like_a_reference_comes_back_as_it_was(
    mode: Mode, folder: Folder
) -> None:
    def f(ctx: Any) -> Steps:
        found = yield ctx.step.run("a", lambda: REFERENCE)
        return found == REFERENCE

    assert played(mode, f, Offload(folder)).finish() is True


@pytest.mark.parametrize("key", ["../../etc/passwd", HASH.upper(), 7])
def test_only_hashes_are_looked_up(folder: Folder, key: object) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("a", lambda: None))

    run = played("sync", f, Offload(folder))
    run.memo({"id": hash_id("a")}, {"data": {**REFERENCE, "sha256": key}})
    assert run.finish() == {**REFERENCE, "sha256": key}


def test_failed_steps_and_sleeps_are_left_alone(mode: Mode, folder: Folder) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep("s", 1000)
        try:
            yield ctx.step.run("bad", lambda: 1 / 0)
        except Exception as error:
            return str(error)

    run = played(mode, f, Offload(folder, threshold=1))
    run.max_attempts = 1
    assert run.finish() == "division by zero"
    assert kept(folder) == []


@pytest.mark.parametrize("where", ["step", "function"])
def test_a_result_that_is_not_json_is_told_as_without_a_store(
    mode: Mode, folder: Folder, where: str
) -> None:
    def f(ctx: Any) -> Steps:
        if where == "function":
            return {1}
        yield ctx.step.run("a", lambda: {1})

    answer = played(mode, f, Offload(folder, results=True)).call()
    assert b"OutputUnserializableError" in answer.body


@pytest.mark.parametrize("encrypted_first", [True, False])
def test_what_is_encrypted_before_it_is_stored_is_so_in_the_store(
    mode: Mode, folder: Folder, encrypted_first: bool
) -> None:
    # Outputs go through the list from its end.
    chain = [Offload(folder), EncryptionMiddleware.factory("key")]
    run = played(mode, one_big, *(chain if encrypted_first else reversed(chain)))
    answers = run.finish()
    assert answers["__ENCRYPTED__"] is True
    [name] = kept(folder)
    stored = json.loads((folder.path / name).read_bytes())
    assert (stored == BIG) is not encrypted_first
    mark = "__OFFLOADED__" if encrypted_first else "__ENCRYPTED__"
    assert mark in run.steps[hash_id("big")]["data"]


@pytest.mark.parametrize("threshold", [0, -1, 4 * 1024 * 1024 + 1])
def test_a_threshold_that_makes_no_sense_is_refused(folder: Folder, threshold: int) -> None:
    with pytest.raises(ConfigError, match=r"Offload.threshold is"):
        Offload(folder, threshold=threshold)


def test_a_folder_writes_an_object_once_and_repairs_what_is_cut_off(folder: Folder) -> None:
    folder.put("k", b"whole")
    path = folder.path / "k"
    first = path.stat().st_ino
    os.utime(path, (0, 0))
    folder.put("k", b"whole")
    assert path.stat().st_ino == first
    assert path.stat().st_mtime > 0, "who deletes what is old would take it for old"
    path.write_bytes(b"wh")
    folder.put("k", b"whole")
    assert folder.get("k") == b"whole"
    assert kept(folder) == ["k"]


def test_a_folder_leaves_nothing_behind_of_a_put_that_failed(folder: Folder) -> None:
    (folder.path / "k" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError):
        folder.put("k", b"body")
    assert kept(folder) == ["k"]


# --- the same for every store -------------------------------------------------------------------

ACCOUNT_KEY = base64.b64encode(b"k" * 64).decode()
CREDENTIALS = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


def connection_string(url: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={ACCOUNT_KEY};"
        f"BlobEndpoint={url};"
    )


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    import boto3  # type: ignore[import-untyped]  # it has no types
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **CREDENTIALS)
    client.create_bucket(Bucket="state")
    yield client
    client.close()
    moto.stop()


@pytest.fixture(scope="module")
def gcs() -> Iterator[Any]:
    from gcp_storage_emulator.server import (  # type: ignore[import-untyped]  # it has no types
        create_server,
    )

    storage: Any = importlib.import_module("google.cloud.storage")  # without types
    credentials: Any = importlib.import_module("google.auth.credentials")

    emulator: Any = create_server("127.0.0.1", 0, in_memory=True, default_bucket="state")
    emulator.start()
    port = emulator._api._httpd.server_address[1]  # it does not say which it was given
    client = storage.Client(
        project="test",
        credentials=credentials.AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{port}"},
    )
    yield client
    client.close()
    emulator.stop()


@pytest.fixture(scope="module")
def azure() -> Iterator[str]:
    with blob_service() as url:
        yield url


@pytest.fixture(params=["folder", "s3", "gcs", "azure", "azure-url"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "folder":
            return Folder(tmp_path / "state")
        case "s3":
            return S3("state", prefix="runs/", client=request.getfixturevalue("s3"))
        case "gcs":
            return GCS("state", prefix="runs/", client=request.getfixturevalue("gcs"))
        case "azure":
            text = connection_string(request.getfixturevalue("azure"))
            return AzureBlob.from_connection_string(text, "state", prefix="runs/")
        case _:
            url = f"{request.getfixturevalue('azure')}/state?sig=TOPSECRET"
            return AzureBlob(url, prefix="url/")


def test_a_store_gives_what_it_was_given(store: Store) -> None:
    key, body = hashlib.sha256(store.name.encode()).hexdigest(), b"[\xff" + b"x" * 5_000_000
    assert store.get(key) is None
    store.put(key, body)
    store.put(key, body)
    assert store.get(key) == body


def test_a_store_keeps_a_large_result(store: Store, mode: Mode) -> None:
    run = played(mode, one_big, Offload(store))
    assert run.finish() is True
    [reference] = [memo["data"] for memo in run.steps.values() if memo["data"] != 1]
    assert reference["store"] == store.name.split(":")[0]
    assert store.get(reference["sha256"]) == TEXT
    assert "TOPSECRET" not in f"{store.name} {store!r} {vars(store)}"


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_a_missing_bucket_is_no_missing_object(
    kind: str, mode: Mode, request: pytest.FixtureRequest
) -> None:
    here = request.getfixturevalue(kind)
    nowhere = S3("nowhere", client=here) if kind == "s3" else AzureBlob(f"{here}/nowhere")
    run = played(mode, one_big, Offload(nowhere))
    run.memo({"id": hash_id("big")}, {"data": REFERENCE})
    answer = run.call()
    assert answer.headers["x-inngest-no-retry"] == "false"
    assert nowhere.name in json.loads(answer.body)["message"]


def test_a_client_is_made_from_the_environment_when_it_is_needed(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3("state", prefix="environment/")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.meta.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", CREDENTIALS["region_name"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["aws_secret_access_key"])
    store.put("k", b"body")
    assert store.get("k") == b"body"
