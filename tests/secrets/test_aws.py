"""Keys in AWS: through moto's SSM and Secrets Manager, and a stand-in for the Lambda extension.

The extension's is the interface that AWS documents: two paths, a header with the session token.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3  # type: ignore[import-untyped]  # ships no types
import pytest
from moto.server import ThreadedMotoServer

from inngest_sdk import signing
from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError
from inngest_serverless import Inngest, TriggerEvent, aws, secrets
from inngest_serverless.aws.secrets import fetch
from tests.secrets.store import Asked, service

KEY = "signkey-test-" + "ab" * 32
TOKEN = "the session's token"


@pytest.fixture(scope="module", name="endpoint")
def endpoint_fixture() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    ssm, secrets = (
        boto3.client(
            name,
            endpoint_url=url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for name in ("ssm", "secretsmanager")
    )
    ssm.put_parameter(Name="/shop/key", Value=KEY, Type="SecureString")
    secrets.create_secret(Name="shop/key", SecretString=KEY)
    secrets.create_secret(Name="shop/all", SecretString=f'{{"signing": "{KEY}", "n": 1}}')
    secrets.create_secret(Name="shop/bytes", SecretBinary=b"\x00\xff")
    try:
        yield url
    finally:
        server.stop()


@pytest.fixture(params=["powertools", "boto3"], name="aws")
def aws_fixture(
    request: pytest.FixtureRequest, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with AWS credentials, with Powertools and without."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    if request.param == "boto3":
        monkeypatch.setitem(sys.modules, "aws_lambda_powertools", None)


def reference(text: str) -> Reference:
    scheme, _, name = text.partition(":")
    return Reference(scheme, name)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    "text",
    ["ssm:/shop/key", "secretsmanager:shop/key", "secretsmanager:shop/all#signing"],
)
def test_a_key_is_fetched_from_where_it_lies(text: str) -> None:
    assert fetch(reference(text), again=False) == KEY
    assert fetch(reference(text), again=True) == KEY


@pytest.mark.usefixtures("aws")
def test_a_secret_may_be_named_by_its_arn(endpoint: str) -> None:
    secrets = boto3.client("secretsmanager")
    arn = secrets.describe_secret(SecretId="shop/all")["ARN"]
    assert fetch(reference(f"secretsmanager:{arn}#signing"), again=False) == KEY


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ssm:/shop/none", "AWS answered ParameterNotFound; check its name"),
        ("secretsmanager:none", "AWS answered ResourceNotFoundException; check its name"),
        ("secretsmanager:shop/all#none", "there is no field 'none' in its JSON"),
        ("secretsmanager:shop/all#n", "it is a binary secret; store the key as text"),
        ("secretsmanager:shop/key#field", "it is no JSON object.*leave out #field"),
        ("secretsmanager:shop/bytes", "it is a binary secret; store the key as text"),
    ],
)
def test_what_cannot_be_fetched_is_said_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(SecretUnavailableError, match=said) as caught:
        fetch(reference(text), again=False)
    assert KEY not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.usefixtures("aws")
def test_an_endpoint_that_cannot_be_reached_is_a_matter_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aws_lambda_powertools", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SecretUnavailableError, match="a function in a VPC needs"):
        fetch(reference("ssm:/shop/key"), again=False)


def test_without_boto3_and_the_extension_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SecretUnavailableError, match=r"add the extension's layer, or pip install"):
        fetch(reference("ssm:/shop/key"), again=False)


class Extension:
    """AWS's extension, as far as it is documented, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.status, self.body = 200, b""

    def answer(self, asked: Asked) -> tuple[int, object, Mapping[str, str]]:
        self.asked.append(asked)
        if asked.headers.get("x-aws-parameters-secrets-token") != TOKEN:
            return 401, b"", {}
        if self.body:
            return self.status, self.body, {}
        url = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/systemsmanager/parameters/get" and query.get("withDecryption") == "true":
            return 200, {"Parameter": {"Name": query["name"], "Value": KEY}}, {}
        if url.path == "/secretsmanager/get":
            return 200, {"Name": query["secretId"], "SecretString": f'{{"signing": "{KEY}"}}'}, {}
        return 404, b"", {}


@pytest.fixture(name="extension")
def extension_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Extension]:
    extension = Extension()
    with service(extension.answer) as port:
        monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(port))
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "shop")
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
        monkeypatch.setitem(sys.modules, "boto3", None)
        yield extension


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            "ssm:/shop/key",
            "/systemsmanager/parameters/get?name=%2Fshop%2Fkey&withDecryption=true",
        ),
        (
            "secretsmanager:arn:aws:x:shop#signing",
            "/secretsmanager/get?secretId=arn%3Aaws%3Ax%3Ashop",
        ),
    ],
)
def test_the_extension_is_asked_where_it_is_there(
    extension: Extension, text: str, path: str
) -> None:
    assert fetch(reference(text), again=False) == KEY
    assert [asked.path for asked in extension.asked] == [path]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"message":"ParameterNotFound: none"}', "ParameterNotFound; check its name"),
        (400, b"AccessDeniedException: no", "allow the function's role ssm:GetParameter"),
        (500, b"oh", "status 500; it will be tried again"),
        (200, b"[]", "the extension's answer has no text in it"),
        (200, b'{"Parameter": {}}', "the extension's answer has no text in it"),
    ],
)
def test_what_the_extension_refuses_is_said_with_what_to_do(
    extension: Extension, status: int, body: bytes, said: str
) -> None:
    extension.status, extension.body = status, body
    with pytest.raises(SecretUnavailableError, match=said):
        fetch(reference("ssm:/shop/key"), again=False)


@pytest.mark.usefixtures("aws")
def test_an_extension_that_is_not_ready_is_passed_by(
    extension: Extension, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "boto3")
    extension.status, extension.body = 400, b"not ready to serve traffic, please wait"
    assert fetch(reference("ssm:/shop/key"), again=False) == KEY
    assert len(extension.asked) == 1


@pytest.mark.usefixtures("aws")
def test_the_extensions_cache_is_passed_by_when_its_answer_seems_old(
    extension: Extension, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "boto3")
    assert fetch(reference("secretsmanager:shop/key"), again=True) == KEY
    assert extension.asked == []


def test_nobody_is_given_the_token_off_lambda(
    extension: Extension, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")
    with pytest.raises(SecretUnavailableError):
        fetch(reference("ssm:/shop/key"), again=False)
    assert extension.asked == []


@pytest.mark.usefixtures("aws")
def test_a_lambda_function_checks_its_calls_with_a_key_that_lies_in_aws() -> None:
    client = Inngest(app_id="shop", signing_key="ssm:/shop/key")

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: Any) -> int:
        return 7

    body = json.dumps({"event": {"name": "a/b", "data": {}}, "ctx": {"run_id": "01", "attempt": 0}})

    def call(key: str) -> Any:
        header = signing.sign(key, body.encode(), int(time.time()))
        return aws.serve(client)(
            {
                "version": "2.0",
                "rawPath": "/api/inngest",
                "rawQueryString": "fnId=shop-f",
                "headers": {signing.HEADER: header},
                "requestContext": {"domainName": "shop.example", "http": {"method": "POST"}},
                "body": body,
            },
            None,
        )

    try:
        assert (call(KEY)["statusCode"], call(KEY)["body"]) == (200, "7")
        assert call("abcd")["statusCode"] == 401
    finally:
        secrets.forget()


@pytest.mark.usefixtures("aws")
def test_what_is_forgotten_is_forgotten_by_powertools_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(reference("ssm:/shop/key"), again=False)
    parameters = sys.modules["aws_lambda_powertools.utilities.parameters"]
    secrets.forget()
    kept = [store.store for store in parameters.base.DEFAULT_PROVIDERS.values()]
    assert kept == [{}] * len(kept)
