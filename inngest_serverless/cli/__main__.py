"""`python -m inngest_serverless.cli` is `inngest-serverless`."""

from inngest_serverless.cli import main

main()
