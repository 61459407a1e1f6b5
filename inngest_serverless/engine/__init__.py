"""The local engine: a durable orchestrator in one process, for development and tests."""
