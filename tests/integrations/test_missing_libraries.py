"""An app without an extra is told which one it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

PACKAGE = "inngest_serverless.integrations"


@pytest.mark.parametrize(
    ("library", "code", "extra"),
    [
        ("opentelemetry", f"import {PACKAGE}.opentelemetry", "opentelemetry"),
        (
            "nacl",
            f"from {PACKAGE} import encryption as e; e.EncryptionMiddleware.factory('key')",
            "encryption",
        ),
        ("boto3", f"from {PACKAGE} import offload as o; o.S3('b').get('k')", "aws"),
        ("google.cloud", f"from {PACKAGE} import offload as o; o.GCS('b').get('k')", "offload-gcs"),
        (
            "azure.storage",
            f"from {PACKAGE} import offload as o; o.AzureBlob('https://a/b').get('k')",
            "offload-azure",
        ),
    ],
)
def test_a_missing_library_is_missed_in_words(library: str, code: str, extra: str) -> None:
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"try:\n    {code}\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ConfigError ")
    assert f"pip install 'inngest-serverless[{extra}]'" in done.stdout


def test_a_missing_library_is_no_failure_to_be_retried() -> None:
    script = (
        "import sys; sys.modules['boto3'] = None\n"
        "from inngest_serverless import ConfigError, Inngest, TransformOutputResult\n"
        "from inngest_serverless.integrations.offload import S3, Offload\n"
        "made = Offload(S3('b'), threshold=1, results=True)(None, None)\n"
        "try:\n    made.transform_output(TransformOutputResult(None, 'large', None))\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "boto3" in done.stdout
