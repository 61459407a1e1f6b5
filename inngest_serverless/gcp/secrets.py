"""Fetches `gcp-secret:projects/P/secrets/S[/versions/V]` from Google Secret Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

TIMEOUT_SECONDS = 10.0

# By the name of the error, or of one that it is a kind of: over gRPC a Forbidden is a
# PermissionDenied.
_ADVICE = {
    "NotFound": "check the project, the name and the version, and that the version is enabled",
    "InvalidArgument": "check the name",
    "FailedPrecondition": "the version is disabled or destroyed: name another, or none at all",
    "Forbidden": "grant the service account roles/secretmanager.secretAccessor on it",
    "Unauthorized": "the service account is not accepted: is it enabled?",
    "DefaultCredentialsError": "give the process a service account, or on your machine run gcloud "
    "auth application-default login",
    "RefreshError": "give the process a service account, or on your machine run gcloud auth "
    "application-default login",
}


def fetch(
    reference: Reference, again: bool, client: SecretManagerServiceClient | None = None
) -> str:
    """Fetch what a reference names, blocking, with this client or one of our own. Nothing is kept
    here that `again` could pass by. Raises SecretUnavailableError with what to do."""
    name = version_name(reference.name)
    try:
        from google.cloud import secretmanager
    except ImportError:
        raise SecretUnavailableError(
            "google-cloud-secret-manager is not installed: pip install "
            "'inngest-serverless[gcp-secrets]'"
        ) from None
    try:
        client = client or secretmanager.SecretManagerServiceClient()
        answer = client.access_secret_version(name=name, timeout=TIMEOUT_SECONDS)
    except Exception as error:
        said = f"Secret Manager answered {type(error).__name__}; {_advice(error)}"
        raise SecretUnavailableError(said) from error
    try:
        return answer.payload.data.decode()
    except UnicodeDecodeError:
        # `from None`: the error holds what was fetched.
        raise SecretUnavailableError("it is not text; store the key as text") from None


def _advice(error: Exception) -> str:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    known = [_ADVICE[kind] for kind in kinds if kind in _ADVICE]
    return known[0] if known else "it will be tried again; check that the network lets it through"


def version_name(name: str) -> str:
    """The full name of a secret's version, the latest if none is named."""
    parts = name.split("/")
    is_secret = (
        len(parts) in (4, 6)
        and parts[::2] == ["projects", "secrets", "versions"][: len(parts) // 2]
    )
    if not is_secret or not all(parts):
        raise SecretUnavailableError(
            "it takes projects/PROJECT/secrets/NAME, with or without /versions/VERSION"
        )
    return name if len(parts) == 6 else f"{name}/versions/latest"
