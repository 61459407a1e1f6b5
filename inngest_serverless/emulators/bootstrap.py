"""What runs in the child process: Lambda's own bootstrap, plus a tie to the life of its parent.

Run by path (`python bootstrap.py`), never imported by the emulator: the child must load the runtime
client and the user's handler and nothing of this package.
"""

from __future__ import annotations

import os
import sys


def die_with_parent(parent: int) -> None:
    """Have Linux kill this process when `parent` is gone, even by SIGKILL.

    To be exact: when the thread that started it ends, which is the one that the event loop runs in.
    Elsewhere an orphan ends when it next calls the Runtime API, whose socket died with the parent.
    """
    if sys.platform != "linux":
        return
    import ctypes

    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != parent:  # it died before the line above could take effect
        os._exit(1)


def search_task_root_first(root: str) -> None:
    """Put the task root where Lambda's bootstrap puts it, in place of this script's folder."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [root, *(path for path in sys.path if os.path.abspath(path) != here)]


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    search_task_root_first(os.environ["LAMBDA_TASK_ROOT"])
    from awslambdaric.__main__ import main as run  # type: ignore[import-untyped]  # ships no types

    run([os.environ["LAMBDA_TASK_ROOT"], os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
