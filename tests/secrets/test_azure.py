"""Keys in Azure Key Vault: Microsoft's own client, over TLS, against a server that answers as
documented at https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError
from inngest_serverless.azure.secrets import fetch, parts_of
from tests.secrets.store import Asked, service

KEY = "signkey-test-" + "ab" * 32
TENANT = "00000000-0000-0000-0000-000000000001"
SECRETS = {"/secrets/key": KEY, "/secrets/key/2": "older"}


class Identity:
    """A managed identity."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("the app's token", 4_000_000_000)


def answer(asked: Asked) -> tuple[int, object, Mapping[str, str]]:
    path = asked.path.partition("?")[0].rstrip("/")
    if asked.headers.get("authorization") != "Bearer the app's token":
        where = f"https://login.microsoftonline.com/{TENANT}"
        challenge = f'Bearer authorization="{where}", resource="https://vault.azure.net"'
        return 401, _error("Unauthorized"), {"www-authenticate": challenge}
    if path == "/secrets/denied":
        return 403, _error("Forbidden"), {}
    if path not in SECRETS:
        return 404, _error("SecretNotFound"), {}
    found = f"https://{asked.headers['host']}/secrets/key/2"
    return 200, {"value": SECRETS[path], "id": found, "attributes": {"enabled": True}}, {}


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": code}}


@pytest.fixture(scope="module", name="certificate")
def certificate_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path_factory.mktemp("vault") / "vault.pem"
    file.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return file


Fetched = Callable[[str], str]


@pytest.fixture(name="fetched")
def fetched_fixture(certificate: Path) -> Iterator[Fetched]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    def client(vault: str) -> SecretClient:
        return SecretClient(
            vault,
            Identity(),
            verify_challenge_resource=False,  # which is vault.azure.net, and not this machine
            connection_verify=str(certificate),
            retry_total=0,
        )

    with service(answer, tls) as port:
        address = f"https://127.0.0.1:{port}/secrets"
        yield lambda name: fetch(Reference("keyvault", f"{address}/{name}"), False, client)


@pytest.mark.parametrize(("name", "text"), [("key", KEY), ("key/2", "older")])
def test_a_key_is_fetched_from_where_it_lies(fetched: Fetched, name: str, text: str) -> None:
    assert fetched(name) == text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", r"answered 404 \(ResourceNotFoundError\); check the vault's"),
        ("denied", r"answered 403 .*the role Key Vault Secrets User"),
    ],
)
def test_what_cannot_be_fetched_is_said_with_what_to_do(
    fetched: Fetched, name: str, said: str
) -> None:
    with pytest.raises(SecretUnavailableError, match=said):
        fetched(name)


def test_a_vault_that_cannot_be_reached_is_a_matter_of_name_or_network() -> None:
    def client(vault: str) -> SecretClient:
        return SecretClient(vault, Identity(), retry_total=0)

    reference = Reference("keyvault", "https://127.0.0.1:9/secrets/key")
    with pytest.raises(
        SecretUnavailableError, match="check the vault's name, and that the network"
    ):
        fetch(reference, False, client)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("https://v.vault.azure.net/secrets/key", ("https://v.vault.azure.net", "key", None)),
        ("https://v.vault.azure.net/secrets/key/", ("https://v.vault.azure.net", "key", None)),
        ("https://v.vault.azure.net/secrets/key/7f", ("https://v.vault.azure.net", "key", "7f")),
    ],
)
def test_an_address_has_a_vault_a_name_and_perhaps_a_version(
    address: str, parts: tuple[str, str, str | None]
) -> None:
    assert parts_of(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "key",
        "http://v.vault.azure.net/secrets/key",
        "https://v.vault.azure.net/keys/key",
        "https://v.vault.azure.net/secrets/",
        "https:///secrets/key",
        "https://v.vault.azure.net/secrets/key/7f/8",
    ],
)
def test_what_is_no_address_is_refused_before_anybody_is_asked(address: str) -> None:
    with pytest.raises(SecretUnavailableError, match="it takes https://VAULT"):
        parts_of(address)
