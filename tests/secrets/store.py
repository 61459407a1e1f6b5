"""A secret store in memory that keeps notes, and small HTTP services that answer like stores."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError

SCHEME = "shelf"


@dataclass
class Store:
    """Secrets by name, and what was asked for: each name, and whether it was asked again."""

    secrets: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def fetch(self, reference: Reference, again: bool) -> str:
        """The store's side; what is missing is refused."""
        self.asked.append((reference.name, again))
        if reference.name not in self.secrets:
            raise SecretUnavailableError("the shelf is empty; put it there")
        return self.secrets[reference.name]


@dataclass(frozen=True)
class Asked:
    """A request that a service got. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


Answering = Callable[[Asked], tuple[int, object, Mapping[str, str]]]


@contextmanager
def service(answer: Answering, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answer GETs with a status, JSON and headers, for as long as the block; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): text for name, text in self.headers.items()}
            status, body, more = answer(Asked("GET", self.path, headers))
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, text in {"content-type": "application/json", **more}.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
