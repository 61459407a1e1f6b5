"""The app under uvicorn: `python -m inngest_serverless.cli.asgi_child PORT`.

It prints the port that it listens on, and ends when its standard input does: that is, with the
process that started it, even if that one was killed.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

import uvicorn


def main() -> None:
    sys.path.insert(0, os.getcwd())
    threading.Thread(target=end_with_parent, daemon=True).start()
    config = uvicorn.Config(
        "inngest_serverless.asgi:app", port=int(sys.argv[1]), log_level="warning"
    )
    listening = config.bind_socket()
    # Connections inherit it. asyncio sets it only where the socket names its protocol, and
    # uvicorn's does not; without it each answer on a kept connection takes 40 ms more.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.listen(config.backlog)  # from here on a caller waits instead of being refused
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
