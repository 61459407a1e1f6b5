"""The app on Google Cloud: functions-framework, that is Cloud Run functions and Cloud Functions.

main.py: from inngest_serverless.gcp import handler
deploy:  gcloud functions deploy shop --entry-point handler --trigger-http ...
"""

from typing import TYPE_CHECKING

from inngest_serverless.gcp.entrypoint import handler, serve, serve_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from inngest_serverless.gcp.sources import forward, forward_async, forward_push

    async_handler: Callable[[Request], Awaitable[Response]]
else:

    def __getattr__(name: str) -> object:
        """Make `async_handler` when it is asked for: it loads functions-framework's ASGI mode. The
        bridges are for functions of their own."""
        if name in ("forward", "forward_async", "forward_push"):
            from inngest_serverless.gcp import sources

            return getattr(sources, name)
        if name != "async_handler":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from inngest_serverless.gcp.entrypoint import found_async_handler

        globals()[name] = found_async_handler()
        return globals()[name]


__all__ = [
    "async_handler",
    "forward",
    "forward_async",
    "forward_push",
    "handler",
    "serve",
    "serve_async",
]
