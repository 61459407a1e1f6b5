"""The side of the Inngest server that apps call, on a free loopback port. It runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Asked:
    """A request of the app's. `target` is path and query, the headers' names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


@dataclass
class InngestServer:
    """What it was asked, and what it answers: to a registration `registration` (status, body), and
    of any run's state `steps` and `events`. Events wait for their answer until `takes_events`."""

    origin: str = ""
    asked: list[Asked] = field(default_factory=list)
    takes_events: Event = field(default_factory=Event)
    registration: tuple[int, object] = (200, None)
    steps: Mapping[str, Any] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)

    def forget(self) -> None:
        """Be as at the beginning: asked nothing, and ready for everything."""
        self.asked.clear()
        self.takes_events.set()
        self.registration = (200, {"ok": True, "modified": True})
        self.steps, self.events = {}, []

    def asked_at(self, path: str) -> list[Asked]:
        """The requests whose target begins so."""
        return [each for each in self.asked if each.target.startswith(path)]

    def answer(self, asked: Asked) -> tuple[int, object]:
        """Note a request, and answer it."""
        self.asked.append(asked)
        path = asked.target.partition("?")[0]
        match asked.method, *path.strip("/").split("/"):
            case "POST", "fn", "register":
                return self.registration
            case "POST", "e", _:
                self.takes_events.wait(PATIENCE)
                sent = asked.json()
                return 200, {"ids": [f"id-{n}" for n in range(len(sent))], "status": 200}
            case "POST", "v1", "checkpoint", _, "async":
                return 200, {}
            case "GET", "v0", "runs", _, "actions":
                return 200, self.steps
            case "GET", "v0", "runs", _, "batch":
                return 200, self.events
        return 404, {"error": f"no {asked.method} {asked.target} here"}


@contextmanager
def inngest_server() -> Iterator[InngestServer]:
    """A server for as long as the block."""
    server = InngestServer()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            status, said = server.answer(Asked(self.command, self.path, headers, body))
            written = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    listening.daemon_threads = True
    server.origin = f"http://127.0.0.1:{listening.server_port}"
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
