"""A server of one function, for commands that meet what is neither an engine nor an app."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@contextmanager
def answering(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Serve `answer` for as long as the block; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made = answer(Request(self.command, self.path, body))
            self.send_response(made.status)
            for name, value in {**made.headers, "content-length": str(len(made.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(made.body)

        do_GET = do_PUT = do_POST = handle_one

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
