"""Settings: who beats whom, what is refused, and that secrets stay so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from inngest_sdk.config import Config, Reference, Secret, Streaming
from inngest_sdk.errors import ConfigError

CLOUD = ("https://api.inngest.com", "https://inn.gs")
LOCAL = ("http://localhost:8288", "http://localhost:8288")
OURS = ("http://ours:1", "http://ours:1")


@pytest.mark.parametrize(
    ("environ", "arguments", "production"),
    [
        ({}, {}, True),
        ({"INNGEST_DEV": ""}, {}, True),
        ({"INNGEST_DEV": "0"}, {}, True),
        ({"INNGEST_DEV": "false"}, {}, True),
        ({"INNGEST_DEV": "1"}, {}, False),
        ({"INNGEST_DEV": "True"}, {}, False),
        ({"INNGEST_DEV": "http://ours:1"}, {}, False),
        ({"INNGEST_DEV": "1"}, {"is_production": True}, True),
        ({"INNGEST_DEV": "0"}, {"is_production": False}, False),
    ],
)
def test_the_mode_is_the_arguments_then_the_variables_then_cloud(
    environ: Mapping[str, str], arguments: dict[str, Any], production: bool
) -> None:
    assert Config.from_env(environ, **arguments).is_production is production


@pytest.mark.parametrize(
    ("environ", "arguments", "origins"),
    [
        ({}, {}, CLOUD),
        ({"INNGEST_DEV": "1"}, {}, LOCAL),
        ({}, {"is_production": False}, LOCAL),
        ({"INNGEST_DEV": "http://ours:1/"}, {}, OURS),
        ({"INNGEST_DEV": "http://ours:1"}, {"is_production": True}, CLOUD),
        ({"INNGEST_BASE_URL": "http://ours:1"}, {}, OURS),
        ({"INNGEST_DEV": "http://other:2", "INNGEST_BASE_URL": "http://ours:1"}, {}, OURS),
        ({"INNGEST_API_BASE_URL": "http://api:2"}, {}, ("http://api:2", CLOUD[1])),
        ({"INNGEST_EVENT_API_BASE_URL": "http://ev:2"}, {}, (CLOUD[0], "http://ev:2")),
        (
            {"INNGEST_BASE_URL": "http://ours:1", "INNGEST_API_BASE_URL": "http://api:2/v/"},
            {},
            ("http://api:2/v", "http://ours:1"),
        ),
        (
            {"INNGEST_API_BASE_URL": "http://x:3", "INNGEST_EVENT_API_BASE_URL": "http://x:3"},
            {"api_base_url": "http://ours:1", "event_api_base_url": "http://ours:1"},
            OURS,
        ),
    ],
)
def test_origins_come_from_the_most_specific_setting(
    environ: Mapping[str, str], arguments: dict[str, Any], origins: tuple[str, str]
) -> None:
    config = Config.from_env(environ, **arguments)

    assert (config.api_origin, config.event_api_origin) == origins


def test_arguments_beat_the_environment() -> None:
    environ = {
        "INNGEST_ENV": "theirs",
        "INNGEST_EVENT_KEY": "theirs",
        "INNGEST_SIGNING_KEY": "beef",
    }

    config = Config.from_env(
        environ, env="ours", event_key="ours", signing_key="cafe", request_timeout=1_500
    )

    assert config.env == "ours"
    assert config.event_key == Secret("ours")
    assert config.signing_key == Secret("cafe")
    assert config.request_timeout == 1.5


def test_every_other_setting_is_read_from_the_environment() -> None:
    config = Config.from_env(
        {
            "INNGEST_ENV": "branch",
            "INNGEST_EVENT_KEY": "event-key\n",
            "INNGEST_SIGNING_KEY": "signkey-prod-beef\n",
            "INNGEST_SIGNING_KEY_FALLBACK": "CAFE",
            "INNGEST_SERVE_ORIGIN": "https://shop.example/",
            "INNGEST_SERVE_PATH": "jobs",
            "INNGEST_ALLOW_IN_BAND_SYNC": "false",
        }
    )

    assert config == Config(
        env="branch",
        event_key=Secret("event-key"),
        signing_key=Secret("signkey-prod-beef"),
        signing_key_fallback=Secret("CAFE"),
        serve_origin="https://shop.example",
        serve_path="/jobs",
        allow_in_band_sync=False,
    )
    assert config.signing_keys == (Secret("signkey-prod-beef"), Secret("CAFE"))


def test_nothing_set_means_no_keys_in_band_allowed_and_thirty_seconds() -> None:
    config = Config.from_env({})

    assert config == Config()
    assert config.signing_keys == ()
    assert config.request_timeout == 30


def test_the_process_environment_is_read_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INNGEST_ENV", "from-the-process")

    assert Config.from_env().env == "from-the-process"


@pytest.mark.parametrize(
    "name", ["RAILWAY_GIT_BRANCH", "RENDER_GIT_BRANCH", "VERCEL_GIT_COMMIT_REF"]
)
def test_a_host_that_names_its_branch_names_the_environment(name: str) -> None:
    assert Config.from_env({name: "feature"}).env == "feature"
    assert Config.from_env({name: "feature", "INNGEST_ENV": "mine"}).env == "mine"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INNGEST_DEV", "maybe"),
        ("INNGEST_DEV", "ftp://ours"),
        ("INNGEST_BASE_URL", "localhost:8288"),
        ("INNGEST_BASE_URL", "http://"),
        ("INNGEST_BASE_URL", "http://ours:0"),
        ("INNGEST_BASE_URL", "http://ours:port"),
        ("INNGEST_BASE_URL", "http://[::1"),
        ("INNGEST_API_BASE_URL", "http://ours/?a=b"),
        ("INNGEST_EVENT_API_BASE_URL", "http://ours/#a"),
        ("INNGEST_SERVE_ORIGIN", "https://shop.example/prod"),
        ("INNGEST_SERVE_PATH", "https://shop.example/jobs"),
        ("INNGEST_SERVE_PATH", "/jobs?code=1"),
        ("INNGEST_ALLOW_IN_BAND_SYNC", "perhaps"),
        ("INNGEST_STREAMING", "sometimes"),
        ("INNGEST_STREAMING", "2"),
    ],
)
def test_a_bad_value_is_reported_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: value})

    assert caught.value.message.startswith(f"{name} is {value!r}")
    assert "it takes" in caught.value.message


@pytest.mark.parametrize(
    ("said", "argument", "streaming"),
    [
        ("", None, Streaming.DISABLE),
        ("allow", None, Streaming.ALLOW),
        ("FORCE", None, Streaming.FORCE),
        ("disable\n", None, Streaming.DISABLE),
        ("1", None, Streaming.ALLOW),
        ("true", None, Streaming.ALLOW),
        ("off", None, Streaming.DISABLE),
        ("force", Streaming.DISABLE, Streaming.DISABLE),
        ("disable", Streaming.ALLOW, Streaming.ALLOW),
    ],
)
def test_streaming_is_the_argument_then_the_variable_then_off(
    said: str, argument: Streaming | None, streaming: Streaming
) -> None:
    config = Config.from_env({"INNGEST_STREAMING": said}, streaming=argument)

    assert config.streaming is streaming


def test_a_front_doors_own_streaming_beats_all_others() -> None:
    config = Config(streaming=Streaming.FORCE)

    assert config.streamed(None) is Streaming.FORCE
    assert config.streamed(Streaming.DISABLE) is Streaming.DISABLE


def test_streaming_takes_no_text_in_code() -> None:
    text: Any = "force"

    for settle in (lambda: Config.from_env({}, streaming=text), lambda: Config().streamed(text)):
        with pytest.raises(ConfigError, match=r"streaming is 'force'; it takes Streaming\.ALLOW"):
            settle()


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "10s", timedelta(0)])
def test_a_bad_timeout_is_reported(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"request_timeout is .*; it takes milliseconds"):
        Config.from_env({}, request_timeout=value)


def test_a_timeout_may_be_a_timedelta() -> None:
    assert Config.from_env({}, request_timeout=timedelta(seconds=2)).request_timeout == 2


@pytest.mark.parametrize("key", ["signkey-test-", "hello", "abc", "signkey-test-xyz", "be ef"])
@pytest.mark.parametrize("name", ["INNGEST_SIGNING_KEY", "INNGEST_SIGNING_KEY_FALLBACK"])
def test_a_malformed_signing_key_is_reported_but_not_shown(name: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: key})

    assert caught.value.message.startswith(f"{name} is not a signing key (not shown here)")
    assert repr(key) not in caught.value.message


@pytest.mark.parametrize("text", ["ssm:/a", "secretsmanager:a#b", "gcp-secret:a", "keyvault:a"])
@pytest.mark.parametrize("name", ["INNGEST_SIGNING_KEY", "INNGEST_EVENT_KEY"])
def test_a_key_may_be_a_reference_to_where_it_lies(name: str, text: str) -> None:
    config = Config.from_env({name: f"{text}\n"})
    key = config.event_key if name == "INNGEST_EVENT_KEY" else config.signing_key

    assert isinstance(key, Reference)
    assert str(key) == text
    assert (key.setting, key.max_age) == (name, 300)
    assert key.is_signing_key is (name == "INNGEST_SIGNING_KEY")


def test_an_argument_may_be_a_reference_too() -> None:
    config = Config.from_env(
        {"INNGEST_SECRETS_MAX_AGE": "60", "INNGEST_SIGNING_KEY_FALLBACK": "ssm:/c"},
        signing_key="ssm:/a",
        event_key="ssm:/b",
    )

    keys = (*config.signing_keys, config.event_key)
    assert [str(key) for key in keys] == ["ssm:/a", "ssm:/c", "ssm:/b"]
    for key in keys:
        assert isinstance(key, Reference) and key.max_age == 60
    assert config.signing_key == Reference("ssm", "/a")


def test_a_reference_has_a_name() -> None:
    with pytest.raises(ConfigError, match=r"INNGEST_EVENT_KEY is 'ssm:'; the name .* is missing"):
        Config.from_env({"INNGEST_EVENT_KEY": "ssm:"})


@pytest.mark.parametrize("name", ["INNGEST_SIGNING_KEY", "INNGEST_EVENT_KEY"])
def test_what_azure_could_not_resolve_is_named_as_that(name: str) -> None:
    value = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/key)"

    with pytest.raises(ConfigError, match=r"Azure has not resolved .*a managed identity") as caught:
        Config.from_env({name: value})

    assert caught.value.message.startswith(f"{name} is {value!r}")


@pytest.mark.parametrize("age", ["29", "never", "inf", "nan", "-60"])
def test_a_bad_age_of_secrets_is_reported_once(age: str) -> None:
    environ = {"INNGEST_SECRETS_MAX_AGE": age, "INNGEST_EVENT_KEY": "ssm:/a"}

    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ, signing_key="ssm:/b")

    said = f"INNGEST_SECRETS_MAX_AGE is {age!r}; it takes seconds, 30 or more"
    assert caught.value.message == said


ON_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/22/[1]ab"}


@pytest.mark.parametrize(
    ("environ", "cloud"),
    [
        (ON_LAMBDA, "AWS Lambda (AWS_LAMBDA_FUNCTION_NAME is set)"),
        ({**ON_LAMBDA, "AWS_LAMBDA_LOG_STREAM_NAME": "local/[$LATEST]ab"}, None),
        ({**ON_LAMBDA, "AWS_SAM_LOCAL": "true"}, None),
        ({"K_SERVICE": "shop"}, "Google Cloud Run (K_SERVICE is set)"),
        ({"WEBSITE_INSTANCE_ID": "ab"}, "Azure (WEBSITE_INSTANCE_ID is set)"),
        ({"WEBSITE_POD_NAME": "ab"}, "Azure (WEBSITE_POD_NAME is set)"),
        ({"CONTAINER_APP_NAME": "shop"}, "Azure Container Apps (CONTAINER_APP_NAME is set)"),
        ({"FUNCTIONS_WORKER_RUNTIME": "python", "WEBSITE_HOSTNAME": "localhost:7071"}, None),
        ({"K_SERVICE": ""}, None),
        ({}, None),
    ],
)
def test_a_cloud_shows_in_what_it_alone_sets(environ: Mapping[str, str], cloud: str | None) -> None:
    assert Config.from_env(environ).cloud == cloud


def test_everything_wrong_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(
            {"INNGEST_DEV": "maybe", "INNGEST_SERVE_PATH": "/a?b"},
            signing_key="xyz",
            api_base_url="nowhere",
        )

    for name in ("INNGEST_DEV", "INNGEST_SERVE_PATH", "signing_key", "api_base_url"):
        assert name in caught.value.message


def test_a_front_doors_own_arguments_beat_the_environment() -> None:
    config = Config.from_env(
        {"INNGEST_SERVE_ORIGIN": "https://theirs", "INNGEST_SERVE_PATH": "/theirs"}
    )

    assert config.serving(None, None) == config
    assert config.serving("https://ours", "ours") == replace(
        config, serve_origin="https://ours", serve_path="/ours"
    )
    with pytest.raises(ConfigError, match=r"serve_origin is 'nowhere'.*; serve_path is '/a#b'"):
        config.serving("nowhere", "/a#b")


def test_a_secret_tells_itself_only_when_asked() -> None:
    config = Config(event_key=Secret("hidden"), signing_key=Secret("beef"))

    shown = f"{config!r} {config} {config.event_key} {config.event_key!r}"

    assert "hidden" not in shown
    assert "beef" not in shown
    assert Secret("hidden").reveal() == "hidden"


def test_secrets_are_equal_by_what_they_hide() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


@pytest.mark.parametrize("variable", ["INNGEST_EVENT_KEY", "INNGEST_SIGNING_KEY"])
@pytest.mark.parametrize("text", ["smm:/a", "SSM:/a", "vault:secret-word"])
def test_a_reference_with_an_unknown_scheme_is_not_taken_for_a_key(
    variable: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=f"{variable} has a colon.* keyvault, .*ssm") as raised:
        Config.from_env({variable: text})
    assert text not in raised.value.message
