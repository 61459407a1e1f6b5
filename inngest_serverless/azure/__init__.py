"""The app on Azure Functions: `from inngest_serverless.azure import app` in function_app.py.

`blueprint` is for apps that hold other functions too. Answers that stream are in `azure.streaming`,
which changes how all functions of an app get their requests: nothing here imports it.
"""

from typing import TYPE_CHECKING

from inngest_serverless.azure.entrypoint import app, blueprint

if TYPE_CHECKING:
    from inngest_serverless.azure.sources import forward, forward_async

__all__ = ["app", "blueprint", "forward", "forward_async"]


def __getattr__(name: str) -> object:
    """Load the bridge when it is asked for."""
    if name not in ("forward", "forward_async"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from inngest_serverless.azure import sources

    return getattr(sources, name)
