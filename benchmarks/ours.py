"""Five functions behind our Lambda handler."""

from inngest_serverless import Context, Inngest, TriggerEvent, aws

client = Inngest(app_id="bench", is_production=False)


async def one() -> int:
    return 1


for n in range(5):

    @client.create_function(fn_id=f"f{n}", trigger=TriggerEvent(event="bench/run"))
    async def function(ctx: Context) -> int:
        for step in range(int(ctx.event.data["steps"])):
            await ctx.step.run(f"s{step}", one)
        return 1


handler = aws.serve(client)
