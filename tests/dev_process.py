"""`inngest-serverless dev` as a process of its own, for tests that stop or kill it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


class Dev:
    """A running `dev`: `url` is the engine's, `app_url` the app's; `output` what it has printed.

    Entering waits until everything is up. Leaving kills it, if it has not ended yet.
    """

    def __init__(self, *words: str, cwd: Path, environ: Mapping[str, str] | None = None) -> None:
        self._words, self._cwd = words, cwd
        self._environ = {**os.environ, **(environ or {})}
        self._lines: list[str] = []
        self._printed = threading.Condition()
        self._ended = False

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def url(self) -> str:
        return self._named("engine")

    @property
    def app_url(self) -> str:
        return self._named("app")

    def __enter__(self) -> Dev:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "inngest_serverless.cli", "dev", *self._words],
            cwd=self._cwd,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.wait_for("Ctrl-C")
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._end()

    def wait_for(self, text: str) -> None:
        """Wait until it has printed `text`."""
        with self._printed:
            self._printed.wait_for(lambda: text in self.output or self._ended, timeout=60)
        assert text in self.output, self.output

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._end()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._end()

    def _end(self) -> int:
        code = self._process.wait(60)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._note(line)
        self._ended = True
        self._note("")

    def _note(self, line: str) -> None:
        with self._printed:
            self._lines.append(line)
            self._printed.notify_all()

    def _named(self, what: str) -> str:
        found = re.search(rf"^{what} +(http\S+)", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]
