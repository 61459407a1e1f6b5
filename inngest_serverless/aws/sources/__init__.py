"""What happens in AWS becomes events: the bridge from queues, streams and notices."""

from inngest_serverless.aws.sources.bridge import forward, record_handler

__all__ = ["forward", "record_handler"]
