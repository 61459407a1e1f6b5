"""Fetches `keyvault:https://VAULT.vault.azure.net/secrets/NAME[/VERSION]` from Azure Key Vault."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.keyvault.secrets import SecretClient

TIMEOUT_SECONDS = 10
RETRIES = 1  # of the library: the Inngest server tries the call again by itself


def fetch(
    reference: Reference, again: bool, make_client: Callable[[str], SecretClient] | None = None
) -> str:
    """Fetch what a reference names, blocking, with a client for its vault: this one, or one of our
    own, which is the app's managed identity. Nothing is kept here that `again` could pass by.
    Raises SecretUnavailableError with what to do."""
    vault, name, version = parts_of(reference.name)
    with ExitStack() as opened:
        client = make_client(vault) if make_client else _client(vault, opened)
        opened.enter_context(client)
        try:
            text = client.get_secret(name, version).value
        except Exception as error:
            kind = type(error).__name__
            status = getattr(error, "status_code", None)
            said = kind if status is None else f"{status} ({kind})"
            raise SecretUnavailableError(
                f"Key Vault answered {said}; {_advice(kind, status)}"
            ) from error
    if text is None:
        raise SecretUnavailableError("it has no value")
    return text


def parts_of(address: str) -> tuple[str, str, str | None]:
    """The vault, the name and the version in a secret's address."""
    url = urlsplit(address)
    kind, _, rest = url.path.strip("/").partition("/")
    name, _, version = rest.partition("/")
    # Over anything but https whoever stands in between would get the app's token.
    if url.scheme != "https" or not url.netloc or kind != "secrets" or not name or "/" in version:
        raise SecretUnavailableError(
            "it takes https://VAULT.vault.azure.net/secrets/NAME, with or without /VERSION"
        )
    return f"https://{url.netloc}", name, version or None


def _client(vault: str, opened: ExitStack) -> SecretClient:
    try:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.secrets import SecretClient
    except ImportError:
        raise SecretUnavailableError(
            "azure-keyvault-secrets and azure-identity are not installed: pip install "
            "'inngest-serverless[azure-secrets]'"
        ) from None
    return SecretClient(
        vault,
        opened.enter_context(DefaultAzureCredential()),
        connection_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retry_total=RETRIES,
    )


def _advice(kind: str, status: int | None) -> str:
    if status == 404:
        return "check the vault's and the secret's name, and that the version is there"
    if status == 403:
        return (
            "give the app's identity the role Key Vault Secrets User on the vault, and see "
            "whether the vault's firewall lets the app in"
        )
    if kind in ("ClientAuthenticationError", "CredentialUnavailableError") or status == 401:
        return "give the app a managed identity, or on your machine run az login"
    return "it will be tried again; check the vault's name, and that the network lets it through"
