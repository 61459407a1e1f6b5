"""Fetches `ssm:NAME` and `secretsmanager:NAME-OR-ARN[#FIELD]` from AWS.

Through the Parameters and Secrets Lambda extension where it answers, for it needs no library (boto3
takes a small function most of a second to load); else through Powertools' Parameters, with whatever
the app has set up there; else through boto3.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlencode

from inngest_sdk.config import Reference
from inngest_sdk.errors import SecretUnavailableError

DEFAULT_PORT = "2773"
TIMEOUT_SECONDS = 5

# An error of AWS begins with one of these somewhere, whichever way it came.
_NOT_FOUND = ("ParameterNotFound", "ParameterVersionNotFound", "ResourceNotFoundException")
_DENIED = ("AccessDenied", "UnrecognizedClient", "ExpiredToken", "InvalidSignature")
_CODE = re.compile(r"\b[A-Z][A-Za-z]+(?:Exception|NotFound|Denied)\b")


def fetch(reference: Reference, again: bool) -> str:
    """Fetch what a reference names, blocking. The extension keeps what it has fetched for minutes;
    `again` passes it by. Raises SecretUnavailableError with what to do."""
    name, _, field = reference.name.partition("#")
    if reference.scheme == "ssm":
        name, field = reference.name, ""
    passing_by = again and find_spec("boto3") is not None
    text = None if passing_by else _through_extension(reference.scheme, name, os.environ)
    if text is None:
        text = _through_library(reference.scheme, name)
    return _field_of(text, field) if field else text


def _through_extension(scheme: str, name: str, environ: Mapping[str, str]) -> str | None:
    """What the extension answers; None where there is none, or it is not ready yet."""
    token = environ.get("AWS_SESSION_TOKEN")
    # Elsewhere than on Lambda the token is nobody's business that happens to listen there.
    if not token or "AWS_LAMBDA_FUNCTION_NAME" not in environ:
        return None
    status, body = _asked(_path(scheme, name), token, environ)
    if status == 0 or (status == 400 and b"not ready" in body):
        return None
    if status != 200:
        raise _refused(scheme, _code_in(body.decode(errors="replace")) or f"status {status}")
    try:
        answer = json.loads(body)
        text = answer["Parameter"]["Value"] if scheme == "ssm" else answer["SecretString"]
    except (KeyError, TypeError, ValueError):
        # `from None`, also below: the error may hold what was fetched.
        raise SecretUnavailableError("the extension's answer has no text in it") from None
    return str(text)


def _path(scheme: str, name: str) -> str:
    if scheme == "ssm":
        query = urlencode({"name": name, "withDecryption": "true"})
        return f"/systemsmanager/parameters/get?{query}"
    return f"/secretsmanager/get?{urlencode({'secretId': name})}"


def _asked(path: str, token: str, environ: Mapping[str, str]) -> tuple[int, bytes]:
    """The status and body of the extension's answer; status 0 if nobody answers."""
    import http.client  # not httpx: it is loaded in a tenth of the time, and asks no proxy

    port = environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") or DEFAULT_PORT
    connection = http.client.HTTPConnection("localhost", int(port), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"X-Aws-Parameters-Secrets-Token": token})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _through_library(scheme: str, name: str) -> str:
    has_powertools = find_spec("aws_lambda_powertools") is not None
    if find_spec("boto3") is None:
        raise SecretUnavailableError(
            "neither the AWS Parameters and Secrets Lambda extension answers, nor is boto3 "
            "installed: add the extension's layer, or pip install 'inngest-serverless[aws]'"
        )
    try:
        return _through_powertools(scheme, name) if has_powertools else _through_boto3(scheme, name)
    except SecretUnavailableError:
        raise
    except Exception as error:
        # Powertools' own errors say what AWS said, but not of what kind it was.
        kind = type(error.__context__ or error).__name__
        raise _refused(scheme, _code_in(str(error)) or kind) from error


def _through_powertools(scheme: str, name: str) -> str:
    from aws_lambda_powertools.utilities import parameters

    # What is kept, and how long, is not for two to decide.
    client = _client(scheme)
    if scheme == "ssm":
        provider = parameters.SSMProvider(boto3_client=client)
        return _text(provider.get(name, decrypt=True, force_fetch=True))
    return _text(parameters.SecretsProvider(boto3_client=client).get(name, force_fetch=True))


def _client(scheme: str) -> Any:
    import boto3  # type: ignore[import-untyped]  # ships no types
    from botocore.config import Config  # type: ignore[import-untyped]  # ships no types

    limits = Config(
        connect_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS, retries={"max_attempts": 2}
    )
    # Lambda sets AWS_REGION; boto3 by itself reads AWS_DEFAULT_REGION.
    region = os.environ.get("AWS_REGION") or None
    service = "ssm" if scheme == "ssm" else "secretsmanager"
    return boto3.client(service, region_name=region, config=limits)


def _through_boto3(scheme: str, name: str) -> str:
    client = _client(scheme)
    if scheme == "ssm":
        return _text(client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
    return _text(client.get_secret_value(SecretId=name).get("SecretString"))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise SecretUnavailableError("it is a binary secret; store the key as text")


def _field_of(text: str, field: str) -> str:
    try:
        value = json.loads(text)[field]
    except ValueError:
        raise SecretUnavailableError(
            f"it is no JSON object, so there is no field {field!r} in it; leave out #{field}"
        ) from None
    except (KeyError, TypeError):
        raise SecretUnavailableError(f"there is no field {field!r} in its JSON") from None
    return _text(value)


def _code_in(text: str) -> str | None:
    found = _CODE.search(text)
    return found and found.group()


def _refused(scheme: str, code: str) -> SecretUnavailableError:
    # Other names are those of what went wrong on the way there.
    said = f"AWS answered {code}" if code.startswith((*_NOT_FOUND, *_DENIED)) else code
    return SecretUnavailableError(f"{said}; {_advice(scheme, code)}")


def _advice(scheme: str, code: str) -> str:
    if code.startswith(_NOT_FOUND):
        return "check its name, and that it is in the function's region and account"
    if code.startswith(_DENIED):
        action = "ssm:GetParameter" if scheme == "ssm" else "secretsmanager:GetSecretValue"
        return f"allow the function's role {action}, and kms:Decrypt if it has a key of its own"
    if code.startswith(("NoCredentials", "NoRegion")):
        return "give the process AWS credentials and AWS_REGION"
    if "Connect" in code or "Timeout" in code:
        return "a function in a VPC needs a NAT gateway or an endpoint of that service"
    return "it will be tried again"
