"""Secrets that settings refer to, `INNGEST_SIGNING_KEY=ssm:/shop/signing-key`: which store has
what, and how stores of your own are added. Nothing of a cloud is loaded before a key is needed.
"""

from __future__ import annotations

import sys

from inngest_sdk import keys
from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError
from inngest_sdk.keys import Source, register

__all__ = ["Reference", "SecretUnavailableError", "Source", "forget", "register"]


def forget() -> None:
    """Keep nothing of what was fetched, before a snapshot of this process is taken (SnapStart).
    Each secret is fetched again when it is needed."""
    keys.forget()
    powertools = sys.modules.get("aws_lambda_powertools.utilities.parameters")
    if powertools is not None:  # which keeps what was fetched through it
        powertools.clear_caches()


def _from_aws(reference: Reference, again: bool) -> str:
    from inngest_serverless.aws.secrets import fetch

    return fetch(reference, again)


def _from_google(reference: Reference, again: bool) -> str:
    from inngest_serverless.gcp.secrets import fetch

    return fetch(reference, again)


def _from_azure(reference: Reference, again: bool) -> str:
    from inngest_serverless.azure.secrets import fetch

    return fetch(reference, again)


register("ssm", _from_aws)
register("secretsmanager", _from_aws)
register("gcp-secret", _from_google)
register("keyvault", _from_azure)
