"""Load an app and say whether that works: `python -m inngest_serverless.cli.app_check`.

Run in a process of its own, so that the engine's never holds the user's modules. It loads the app
as an entrypoint would: what INNGEST_APP names, else the only client in the usual modules.
"""

from __future__ import annotations

import os
import sys
import traceback

from inngest_sdk.errors import ConfigError
from inngest_serverless.discovery import find_client

COMPLAINED = 1
"""The exit code that goes with a reason on standard error."""


def main() -> None:
    sys.path.insert(0, os.getcwd())
    try:
        find_client(os.environ.get("INNGEST_APP"))
    except ConfigError as error:
        sys.exit(str(error))
    except Exception:
        traceback.print_exc()  # the user's own module raised it: its traceback says where
        sys.exit(COMPLAINED)


if __name__ == "__main__":
    main()
