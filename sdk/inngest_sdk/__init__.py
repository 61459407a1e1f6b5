"""The SDK core: clients, functions, steps and the Inngest protocol. Knows no platform."""
