"""What happens in Azure becomes events: the bridge from its queues, streams and Event Grid."""

from inngest_serverless.azure.sources.bridge import forward, forward_async

__all__ = ["forward", "forward_async"]
