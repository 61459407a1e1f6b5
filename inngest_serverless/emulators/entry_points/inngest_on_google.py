"""The `main.py` of an app that has none: functions-framework loads it by its path.

Not called main: functions-framework puts it among the modules under its own name, where it would
hide a module of the app.
"""

from inngest_serverless.gcp import async_handler, handler

__all__ = ["async_handler", "handler"]
