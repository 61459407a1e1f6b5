"""The app on AWS Lambda: set the function's handler to `inngest_serverless.aws.handler`."""

from typing import TYPE_CHECKING

from inngest_serverless.aws.entrypoint import handler, prepare, serve

if TYPE_CHECKING:
    from inngest_serverless.aws.sources import forward, record_handler

__all__ = ["forward", "handler", "record_handler", "serve"]


def __getattr__(name: str) -> object:
    """Load the bridge when it is asked for: functions that only serve Inngest have none."""
    if name not in ("forward", "record_handler"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from inngest_serverless.aws import sources

    globals()[name] = getattr(sources, name)
    return globals()[name]


prepare()
