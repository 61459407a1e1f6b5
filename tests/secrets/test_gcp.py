"""Keys in Google Secret Manager: Google's own client, against a server that answers as documented
at https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceRestTransport,
)

from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError
from inngest_serverless.gcp.secrets import fetch, version_name
from tests.secrets.store import Asked, service

KEY = "signkey-test-" + "ab" * 32
anonymous: Callable[[], Any] = AnonymousCredentials
VERSIONS = {
    "projects/p/secrets/key/versions/latest": KEY.encode(),
    "projects/p/secrets/key/versions/2": b"older",
    "projects/p/secrets/bytes/versions/latest": b"\xff\x00",
}
DENIED = "projects/p/secrets/denied/versions/latest"


def answer(asked: Asked) -> tuple[int, object, Mapping[str, str]]:
    path = asked.path.partition("?")[0]
    name = path.removeprefix("/v1/").removesuffix(":access")
    if name == DENIED:
        return 403, {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}, {}
    if not path.endswith(":access") or name not in VERSIONS:
        return 404, {"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}, {}
    data = base64.b64encode(VERSIONS[name]).decode()
    return 200, {"name": name, "payload": {"data": data}}, {}


@pytest.fixture(scope="module", name="client")
def client_fixture() -> Iterator[SecretManagerServiceClient]:
    with service(answer) as port:
        transport = SecretManagerServiceRestTransport(
            host=f"127.0.0.1:{port}", credentials=anonymous(), url_scheme="http"
        )
        with SecretManagerServiceClient(transport=transport) as client:
            yield client


def fetched(client: SecretManagerServiceClient, name: str) -> str:
    return fetch(Reference("gcp-secret", name), False, client)


@pytest.mark.parametrize(
    ("name", "text"),
    [("projects/p/secrets/key", KEY), ("projects/p/secrets/key/versions/2", "older")],
)
def test_a_key_is_fetched_from_where_it_lies(
    client: SecretManagerServiceClient, name: str, text: str
) -> None:
    assert fetched(client, name) == text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("projects/p/secrets/none", "answered NotFound; check the project, the name"),
        ("projects/p/secrets/denied", "answered Forbidden; grant .*secretAccessor"),
        ("projects/p/secrets/bytes", "it is not text"),
    ],
)
def test_what_cannot_be_fetched_is_said_with_what_to_do(
    client: SecretManagerServiceClient, name: str, said: str
) -> None:
    with pytest.raises(SecretUnavailableError, match=said):
        fetched(client, name)


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "projects/p/secrets",
        "projects/p/secrets/",
        "projects/p/secrets/k/versions",
        "a/b/c/d",
    ],
)
def test_what_is_no_name_is_refused_before_anybody_is_asked(name: str) -> None:
    with pytest.raises(SecretUnavailableError, match="it takes projects/PROJECT/secrets/NAME"):
        version_name(name)


def test_without_credentials_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(SecretUnavailableError, match="give the process a service account"):
        fetch(Reference("gcp-secret", "projects/p/secrets/key"), False)
