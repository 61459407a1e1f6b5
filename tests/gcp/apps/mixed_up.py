"""The blocking handler where functions-framework is told to run async ones."""

from functions_framework import aio

from inngest_serverless import gcp

handler = aio.http(gcp.handler)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]  # the mistake
