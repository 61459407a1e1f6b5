"""What a user deploys: functions-framework loads it, `shop` has the app."""

from inngest_serverless.gcp import async_handler, handler

__all__ = ["async_handler", "handler"]
