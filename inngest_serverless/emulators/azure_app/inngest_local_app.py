"""The function app that `dev --platform azure` runs: what function_app.py is in a deployment.

Under another name, so that a function_app.py of the user's can be where INNGEST_APP points.
"""

from inngest_serverless.azure import app

__all__ = ["app"]
