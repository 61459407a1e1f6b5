"""The app as a function app whose answers come in one piece."""

from inngest_serverless.azure import app

__all__ = ["app"]
