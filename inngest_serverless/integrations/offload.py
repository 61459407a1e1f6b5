"""Middleware that keeps large step results in a store of the app's own: a bucket, a folder.

The Inngest server keeps a reference, and sends it with each call of the run:

    {"__OFFLOADED__": 1, "sha256": "<of the JSON text>", "bytes": 3141592, "store": "s3"}

The name of an object is the hash of what it holds. So a step that is tried again writes the same
object again, and what is read can be checked. All that a call's memos refer to is fetched before
user code runs: user code that waited for a store in its midst would not replay alike.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from inngest_sdk import wire
from inngest_sdk.context import Context, ContextSync
from inngest_sdk.errors import ConfigError, Error, NonRetriableError
from inngest_sdk.function import Function
from inngest_sdk.http import dumps
from inngest_sdk.middleware import MiddlewareSync, StepMemos, TransformOutputResult

THRESHOLD = 256 * 1024  # bytes of JSON
AT_ONCE = 8  # objects that one call fetches at a time; botocore's pool has 10 connections

_MARK = "__OFFLOADED__"
_VERSION = 1
_HASH = re.compile("[0-9a-f]{64}")
_JSON = "application/json"


class OffloadError(Error):
    """A store did not take a value, or did not give it; tried again."""

    code = "offload_failed"


class OffloadLostError(NonRetriableError):
    """A store does not have a value that a run needs, or has another in its place."""

    code = "offload_lost"


class Store(Protocol):
    """Where large values are kept. Both methods are called from several threads at once, and may
    raise anything: it is tried again."""

    @property
    def name(self) -> str:
        """The kind and the place, as a URL without secrets: "s3://bucket/prefix"."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Keep the body, for good, before returning. There may be one of the key: the same."""
        ...

    def get(self, key: str) -> bytes | None:
        """The body that was put under the key; None if there is none."""
        ...


@dataclass(frozen=True)
class Offload:
    """Keeps step results of more than `threshold` bytes of JSON in a store; give it to a client,
    or to a function, as middleware. For sync and async functions.

        client = Inngest(app_id="shop", middleware=[Offload(S3("shop-state"))])

    With `results`, those of functions too: then the server, and who invoked the function, get a
    reference, which only apps with the same store read. Raises ConfigError.
    """

    store: Store
    threshold: int = THRESHOLD
    results: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= wire.MAX_STEP_OUTPUT:
            raise ConfigError(
                f"Offload.threshold is {self.threshold!r} bytes; it takes 1 to "
                f"{wire.MAX_STEP_OUTPUT:,} (4 MB), the most that the server keeps"
            )

    def __call__(self, client: Any, raw_request: object) -> OffloadMiddleware:
        """The middleware of one call."""
        return OffloadMiddleware(client, raw_request, self)


class OffloadMiddleware(MiddlewareSync):
    """What `Offload` puts around one call."""

    reversible: ClassVar[bool] = True
    blocks: ClassVar[bool] = True

    def __init__(self, client: Any, raw_request: object, offload: Offload) -> None:
        super().__init__(client, raw_request)
        self._offload = offload
        self._store = offload.store

    def transform_input(
        self, ctx: Context[Any] | ContextSync[Any], function: Function[Any], steps: StepMemos
    ) -> None:
        """Fetch what the memos refer to."""
        memos = {
            hashed: memo
            for hashed, memo in steps.memos.items()
            if isinstance(memo, dict) and _is_reference(memo.get("data"))
        }
        # Equal values are one object.
        needed = {memo["data"]["sha256"]: (hashed, memo["data"]) for hashed, memo in memos.items()}
        found = _each(self._fetched, needed)
        for memo in memos.values():
            memo["data"] = json.loads(found[memo["data"]["sha256"]])

    def transform_output(self, result: TransformOutputResult) -> None:
        """Put a large value into the store, and a reference into its place."""
        if result.error is not None or not self._keeps(result):
            return
        try:
            body = dumps(result.output)
        except (TypeError, ValueError, RecursionError):
            return  # no JSON: the core says so, and sends nothing
        # A value that looks like a reference would be taken for one when it comes back.
        if len(body) > self._offload.threshold or _is_reference(result.output):
            result.output = self._put(body, result)

    def _keeps(self, result: TransformOutputResult) -> bool:
        return self._offload.results if result.step is None else result.step.op == "StepRun"

    def _put(self, body: bytes, result: TransformOutputResult) -> dict[str, Any]:
        key = hashlib.sha256(body).hexdigest()
        try:
            self._store.put(key, body)
        except ConfigError:
            raise
        except Exception as error:
            of = "the function" if result.step is None else f"step {result.step.id!r}"
            raise OffloadError(
                f"{of} has run, but {self._store.name} did not take its result of "
                f"{len(body):,} bytes, so it is tried again: {error}"
            ) from error
        kind = self._store.name.partition(":")[0]
        return {_MARK: _VERSION, "sha256": key, "bytes": len(body), "store": kind}

    def _fetched(self, needed: tuple[str, Mapping[str, Any]]) -> bytes:
        hashed, reference = needed
        key = reference["sha256"]
        what = f"the result of a step (its hash is {hashed}), object {key} of {self._store.name},"
        try:
            body = self._store.get(key)
        except ConfigError:
            raise
        except Exception as error:
            raise OffloadError(f"{what} could not be fetched: {error}") from error
        if body is None:
            raise OffloadLostError(
                f"{what} is not there; it was put into a store of kind {reference.get('store')!r}. "
                "Was it deleted while the run was open, or is this another store?"
            )
        if hashlib.sha256(body).hexdigest() != key:
            raise OffloadLostError(
                f"{what} is not what was put there: it has {len(body):,} bytes with another hash, "
                f"and had {reference.get('bytes')}"
            )
        return body


def _is_reference(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and value.get(_MARK) == _VERSION
        and isinstance(value.get("sha256"), str)
        and _HASH.fullmatch(value["sha256"]) is not None
    )


def _each(
    fetch: Callable[[tuple[str, Mapping[str, Any]]], bytes],
    needed: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> dict[str, bytes]:
    """What `fetch` gives for each, several at a time. Raises what it raises."""
    if len(needed) < 2:
        return {key: fetch(each) for key, each in needed.items()}
    with ThreadPoolExecutor(AT_ONCE, "inngest-offload") as threads:
        return dict(zip(needed, threads.map(fetch, needed.values()), strict=True))


class Folder:
    """A store in a folder: a local disk for development, or a shared one (EFS, Azure Files)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path).absolute()

    @property
    def name(self) -> str:
        """See Store."""
        return self.path.as_uri()

    def put(self, key: str, body: bytes) -> None:
        """See Store. Written to the disk before this returns, and seen whole or not at all."""
        target = self.path / key
        if target.is_file() and target.stat().st_size == len(body):
            os.utime(target)  # as if put now, for whoever deletes what is old
            return
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor, written = tempfile.mkstemp(dir=self.path, prefix=".put-")
        try:
            with open(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(descriptor)
            os.replace(written, target)
        except BaseException:
            Path(written).unlink(missing_ok=True)
            raise

    def get(self, key: str) -> bytes | None:
        """See Store."""
        try:
            return (self.path / key).read_bytes()
        except FileNotFoundError:
            return None


class _Connected:
    """A client of a cloud's storage that is made when it is first needed, once."""

    def __init__(self, make: Callable[[], Any], made: Any = None) -> None:
        self._make, self._made, self._lock = make, made, Lock()

    def __call__(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class S3:
    """A store in a bucket of Amazon S3. Without a `client` of boto3 it makes one from the
    environment. Needs the extra `aws`, and the rights s3:PutObject, s3:GetObject, s3:ListBucket."""

    def __init__(self, bucket: str, *, prefix: str = "", client: Any = None) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._client = _Connected(lambda: _library("boto3", "aws").client("s3"), client)

    @property
    def name(self) -> str:
        """See Store."""
        return f"s3://{self._bucket}/{self._prefix}"

    # An object that is there is put again: to ask costs a request too, and a rule of the bucket
    # that deletes old objects then counts its age anew. So it is in the stores below.
    def put(self, key: str, body: bytes) -> None:
        """See Store."""
        self._client().put_object(
            Bucket=self._bucket, Key=self._prefix + key, Body=body, ContentType=_JSON
        )

    def get(self, key: str) -> bytes | None:
        """See Store."""
        client = self._client()
        try:
            found = client.get_object(Bucket=self._bucket, Key=self._prefix + key)
        except client.exceptions.NoSuchKey:
            return None
        with found["Body"] as stream:
            return bytes(stream.read())


class GCS:
    """A store in a bucket of Google Cloud Storage. Without a `client` of google-cloud-storage it
    makes one from the environment. Needs the extra `offload-gcs`, and storage.objects.create,
    .delete (to replace) and .get."""

    def __init__(self, bucket: str, *, prefix: str = "", client: Any = None) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._client = _Connected(
            lambda: _library("google.cloud.storage", "offload-gcs").Client(), client
        )

    @property
    def name(self) -> str:
        """See Store."""
        return f"gs://{self._bucket}/{self._prefix}"

    def put(self, key: str, body: bytes) -> None:
        """See Store."""
        self._blob(key).upload_from_string(body, content_type=_JSON)

    def get(self, key: str) -> bytes | None:
        """See Store."""
        missing = _library("google.api_core.exceptions", "offload-gcs").NotFound
        try:
            return bytes(self._blob(key).download_as_bytes())
        except missing:
            return None

    def _blob(self, key: str) -> Any:
        return self._client().bucket(self._bucket).blob(self._prefix + key)


class AzureBlob:
    """A store in a container of Azure Blob Storage: by its URL, with a `credential` as
    azure-storage-blob takes it (or a SAS in the URL), or by a connection string. Needs the extra
    `offload-azure`."""

    def __init__(
        self, container_url: str, *, prefix: str = "", credential: Any = None, client: Any = None
    ) -> None:
        """`client` is a ContainerClient."""
        self._prefix = prefix
        # Without the query: it may be a SAS, which is a secret.
        self._place = urlsplit(container_url)._replace(query="", fragment="").geturl()
        self._client = _Connected(
            lambda: _blobs().ContainerClient.from_container_url(container_url, credential), client
        )

    @classmethod
    def from_connection_string(
        cls, connection_string: str, container: str, *, prefix: str = ""
    ) -> AzureBlob:
        """The container of the account that the connection string is for."""
        client = _blobs().ContainerClient.from_connection_string(connection_string, container)
        return cls(client.url, prefix=prefix, client=client)

    @property
    def name(self) -> str:
        """See Store."""
        return f"azure-blob:{self._place}/{self._prefix}"

    def put(self, key: str, body: bytes) -> None:
        """See Store."""
        settings = _blobs().ContentSettings(content_type=_JSON)
        self._client().upload_blob(
            self._prefix + key, body, overwrite=True, content_settings=settings
        )

    def get(self, key: str) -> bytes | None:
        """See Store."""
        missing = _library("azure.core.exceptions", "offload-azure").ResourceNotFoundError
        try:
            return bytes(self._client().download_blob(self._prefix + key).readall())
        except missing as error:
            if error.error_code == "BlobNotFound":
                return None
            raise  # the container is missing


def _blobs() -> Any:
    return _library("azure.storage.blob", "offload-azure")


def _library(name: str, extra: str) -> Any:
    """A library that only some apps have. Raises ConfigError, saying how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"this store needs {name}: pip install 'inngest-serverless[{extra}]'"
        ) from None
