"""The same five functions behind mangum, FastAPI and the official SDK."""

import inngest
import inngest.fast_api
from fastapi import FastAPI
from mangum import Mangum

client = inngest.Inngest(app_id="bench", is_production=False)
functions = []


async def one() -> int:
    return 1


for n in range(5):

    @client.create_function(fn_id=f"f{n}", trigger=inngest.TriggerEvent(event="bench/run"))
    async def function(ctx: inngest.Context) -> int:
        for step in range(int(ctx.event.data["steps"])):  # type: ignore[call-overload] # JSON
            await ctx.step.run(f"s{step}", one)
        return 1

    functions.append(function)

app = FastAPI()
inngest.fast_api.serve(app, client, functions)
handler = Mangum(app, lifespan="off")
