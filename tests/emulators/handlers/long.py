"""A function whose steps together take longer than its platform lets one call take."""

import time

from inngest_serverless import ContextSync, Inngest, TriggerEvent

client = Inngest(app_id="long")


@client.create_function(fn_id="work", trigger=TriggerEvent(event="long/work"), retries=0)
def work(ctx: ContextSync) -> int:
    def step(number: int) -> int:
        time.sleep(0.1)  # the work
        print(f"ran {number}", flush=True)
        return 1

    return sum(ctx.step.run(f"step-{n}", step, n) for n in range(ctx.event.data["steps"]))
