"""The app as a function app every call of which streams."""

import azure.functions as func
from app import client  # type: ignore[import-not-found]  # it lies beside this file

from inngest_serverless import Streaming
from inngest_serverless.azure.streaming import blueprint

app = func.FunctionApp()
app.register_functions(blueprint(client, streaming=Streaming.FORCE))
