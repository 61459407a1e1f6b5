"""A function app with functions of its own beside ours."""

import azure.functions as func
from shop import client  # type: ignore[import-not-found]  # it lies beside this file

from inngest_serverless.azure import blueprint

app = func.FunctionApp()
app.register_functions(blueprint(client))
app.register_functions(
    blueprint(client, route="{tenant}/{*rest}", name="keyed", auth_level=func.AuthLevel.FUNCTION)
)


@app.route(route="hello/{name}/now", auth_level=func.AuthLevel.ANONYMOUS)
def hello(req: func.HttpRequest) -> str:
    return f"hello {req.route_params['name']}"


@app.route(route="raise/it/now", auth_level=func.AuthLevel.ANONYMOUS)
def fail(req: func.HttpRequest) -> str:
    raise RuntimeError("this function fails")
