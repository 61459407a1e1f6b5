"""What runs in the child process: functions-framework, on a socket of ours, tied to its parent.

    python cloud_function_bootstrap.py PORT SOURCE TARGET

Run by path, never imported by the emulator: the child must load functions-framework and the user's
code and nothing of this package. It prints the port that it listens on, and ends when its standard
input does: that is, with the process that started it, even if that one was killed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

# Where gunicorn looks for a socket that was opened for it, as systemd hands them over.
# https://docs.gunicorn.org/en/stable/deploy.html#systemd
INHERITED = 3


def end_with_parent() -> None:
    """Wait until nobody holds the other end of the standard input, and kill the whole group: this
    process leads it, and gunicorn's worker is in it."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def listen(port: int) -> int:
    """Open the socket that gunicorn will find; return its port.

    From here on a caller waits instead of being refused, and no other process can take the port
    that was free a moment ago.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. Without it each answer on a kept connection may take 40 ms more.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(socket.SOMAXCONN)
    bound: int = listening.getsockname()[1]
    opened = listening.detach()
    if opened != INHERITED:
        os.dup2(opened, INHERITED)
        os.close(opened)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
    return bound


def main() -> None:
    port, source, target = int(sys.argv[1]), *sys.argv[2:4]
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.path[0] = os.getcwd()  # in place of this script's folder
    bound = listen(port)
    print(bound, flush=True)
    from functions_framework._cli import _cli

    # What the command `functions-framework` calls, past its reading of the environment: there,
    # the DEBUG that many have set for another program would start another server.
    serve = _cli.callback
    assert serve is not None
    serve(target, source, "http", "127.0.0.1", bound, False, False)


if __name__ == "__main__":
    main()
