"""Handlers that are made in code, for a client that is at hand."""

from inngest_serverless import ContextSync, Inngest, TriggerEvent, gcp

client = Inngest(app_id="shop")


@client.create_function(fn_id="plain", trigger=TriggerEvent(event="shop/plain"))
def plain(ctx: ContextSync) -> None:
    pass


handler = gcp.serve(client, serve_origin="https://shop.example", serve_path="/hooks")
async_handler = gcp.serve_async(client, serve_origin="https://shop.example", serve_path="/hooks")
