"""What happens in Google Cloud becomes events: the bridge from CloudEvents and Pub/Sub."""

from inngest_serverless.gcp.sources.bridge import forward, forward_async, forward_push

__all__ = ["forward", "forward_async", "forward_push"]
