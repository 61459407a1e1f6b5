"""The side of the Inngest server that takes events, as far as a bridge sees it (wire.md A12)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from inngest_serverless import Inngest


@dataclass
class EventApi:
    """What arrived, request by request. It takes `takes` events of each request and refuses the
    next one, all if None."""

    origin: str = ""
    takes: int | None = None
    requests: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All that arrived and were taken."""
        return [event for request in self.requests for event in request[: self.takes]]

    def client(self, **options: Any) -> Inngest:
        """A client that sends its events here."""
        return Inngest(
            app_id="shop", is_production=False, event_api_base_url=self.origin, **options
        )

    def take(self, events: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """Note a request, and answer it."""
        self.requests.append(events)
        ids = [f"id-{len(self.requests)}-{index}" for index in range(len(events))]
        if self.takes is None or self.takes >= len(ids):
            return 200, {"ids": ids, "status": 200}
        refused = {"ids": [*ids[: self.takes], ""], "status": 400, "error": "not this one"}
        return 400, refused


@contextmanager
def event_api() -> Iterator[EventApi]:
    """A server on a free port."""
    api = EventApi()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = api.take(json.loads(body))
            written = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    api.origin = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
