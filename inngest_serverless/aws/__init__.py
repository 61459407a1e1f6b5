"""The app on AWS Lambda: set the function's handler to `inngest_serverless.aws.handler`."""

from inngest_serverless.aws.entrypoint import handler, prepare, serve

__all__ = ["handler", "serve"]

prepare()
