"""Middleware that goes with other libraries, each with an extra of its name: `encryption`,
`offload`, `opentelemetry`. Nothing here is loaded unless an app imports it."""
