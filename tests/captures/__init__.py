"""Traffic recorded between an Inngest server and the official Python SDK, and the app it served."""
