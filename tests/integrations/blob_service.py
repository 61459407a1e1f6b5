"""The few calls of Azure's Blob service that a store makes, over HTTP. Microsoft's own emulator,
Azurite, is 374 npm packages; what is spoken here was compared with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

CONTAINER = "/account/state"
_DATE = "Sun, 22 Nov 2026 16:00:00 GMT"


@contextmanager
def blob_service() -> Iterator[str]:
    """A service with one container; its URL without the container."""
    blobs: dict[str, bytes] = {}

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["x-ms-blob-type"] != "BlockBlob":
                return self._refuse(400, "InvalidHeaderValue")
            if not self._is_in_container():
                return self._refuse(404, "ContainerNotFound")
            blobs[self.path] = body
            self._answer(201, b"")

        def do_GET(self) -> None:
            if not self._is_in_container():
                return self._refuse(404, "ContainerNotFound")
            if self.path not in blobs:
                return self._refuse(404, "BlobNotFound")
            whole = blobs[self.path]
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["x-ms-range"])
            assert wanted is not None
            first, last = int(wanted[1]), min(int(wanted[2]), len(whole) - 1)
            found = f"bytes {first}-{last}/{len(whole)}"
            self._answer(206, whole[first : last + 1], {"content-range": found})

        def _is_in_container(self) -> bool:
            return self.path.startswith(f"{CONTAINER}/")

        def _refuse(self, status: int, code: str) -> None:
            told = f"<Error><Code>{code}</Code><Message>no {self.path}</Message></Error>"
            headers = {"x-ms-error-code": code, "content-type": "application/xml"}
            self._answer(status, told.encode(), headers)

        def _answer(self, status: int, body: bytes, headers: Any = ()) -> None:
            self.send_response(status)
            common = {"etag": '"0x1"', "last-modified": _DATE, "x-ms-blob-type": "BlockBlob"}
            common["x-ms-request-server-encrypted"] = "true"
            for name, value in {**common, **dict(headers)}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as http:
        http.daemon_threads = True
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}{CONTAINER.removesuffix('/state')}"
        http.shutdown()
