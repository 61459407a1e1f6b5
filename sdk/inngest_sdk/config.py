"""Where the app is and which server it talks to. The only reader of the environment in the core.

Arguments beat the environment, which beats the defaults. Everything wrong is reported at once.

A key is a value, or a reference to where it lies (`ssm:/shop/signing-key`). Nothing is fetched
here: flows ask for what is referred to when they need it (`effects.revealed`, `keys`).
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from inngest_sdk.errors import ConfigError

T = TypeVar("T")
V = TypeVar("V")

CLOUD_API_ORIGIN = "https://api.inngest.com"
CLOUD_EVENT_API_ORIGIN = "https://inn.gs"
DEV_SERVER_ORIGIN = "http://localhost:8288"
DEFAULT_REQUEST_TIMEOUT = 30.0
DEFAULT_SECRET_AGE = 300.0
MIN_SECRET_AGE = 30.0  # a store bears that from every process, whatever strangers send

# Set by the hosts that deploy each branch by itself; the same three as the official SDK reads.
BRANCH_VARIABLES = ("RAILWAY_GIT_BRANCH", "RENDER_GIT_BRANCH", "VERCEL_GIT_COMMIT_REF")

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_SIGNING_KEY = re.compile(r"(signkey-\w+-)?([0-9a-fA-F]{2})+")
_SCHEMES = ("ssm", "secretsmanager", "gcp-secret", "keyvault")

# Azure puts the secret in the place of such a setting; what it could not resolve it leaves.
_UNRESOLVED = "@Microsoft.KeyVault("

# Set by the platforms that run functions, and by nobody else.
_CLOUDS = {
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    "K_SERVICE": "Google Cloud Run",
    "WEBSITE_INSTANCE_ID": "Azure",
    "WEBSITE_POD_NAME": "Azure",  # Flex Consumption
    "CONTAINER_APP_NAME": "Azure Container Apps",
}


class Streaming(enum.Enum):
    """Whether an answer that takes long is streamed, for front ends that cut silent connections.

    DISABLE (the default): never. ALLOW: where the platform can, when the answer takes longer than
    three seconds. FORCE: always, and the platform must be able to.
    """

    ALLOW = "allow"
    DISABLE = "disable"
    FORCE = "force"


class Secret:
    """A text that does not show itself in reprs, logs and tracebacks; `reveal()` tells it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Tell the secret."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __str__(self) -> str:
        return "**********"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True)
class Reference:
    """Where a secret lies, instead of the secret: "ssm:/shop/key" is of the scheme "ssm".

    `setting` is what holds it: messages begin with it. A fetched value counts for `max_age`
    seconds.
    """

    scheme: str
    name: str
    setting: str = field(default="the key", compare=False)
    is_signing_key: bool = True
    max_age: float = field(default=DEFAULT_SECRET_AGE, compare=False)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"

    def read(self, text: str) -> Secret:
        """The key in what was fetched. Raises a ValueError that goes on after the reference."""
        text = text.strip()
        if not text:
            raise ValueError("is empty")
        return signing_key_of(text) if self.is_signing_key else Secret(text)


Key: TypeAlias = "Secret | Reference"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one client.

    Origins have no slash at their end. `request_timeout` is in seconds. `env` is the branch
    environment, if any. `serve_origin` and `serve_path` are the environment's; a front door's own
    arguments beat them (`registration.sync_url`). `cloud` names the cloud that this process runs
    in, and how that shows; None on other machines and under local stand-ins. There an app in dev
    mode, which takes calls from anybody, serves only if `allow_dev` says so.
    """

    is_production: bool = True
    api_origin: str = CLOUD_API_ORIGIN
    event_api_origin: str = CLOUD_EVENT_API_ORIGIN
    event_key: Key | None = None
    signing_key: Key | None = None
    signing_key_fallback: Key | None = None
    env: str | None = None
    serve_origin: str | None = None
    serve_path: str | None = None
    allow_in_band_sync: bool = True
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT
    streaming: Streaming = Streaming.DISABLE
    cloud: str | None = None
    allow_dev: bool = False

    @property
    def signing_keys(self) -> tuple[Key, ...]:
        """The signing key and its fallback, those that are set, in the order to try them."""
        keys = (self.signing_key, self.signing_key_fallback)
        return tuple(key for key in keys if key is not None)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        api_base_url: str | None = None,
        env: str | None = None,
        event_api_base_url: str | None = None,
        event_key: str | None = None,
        is_production: bool | None = None,
        request_timeout: int | timedelta | None = None,
        signing_key: str | None = None,
        streaming: Streaming | None = None,
    ) -> Config:
        """Settle every setting from these arguments and the environment (this process's, unless
        `environ` is given). An int of `request_timeout` is milliseconds.

        Raises ConfigError that names every variable or argument with a bad value; secrets are
        not shown.
        """
        environ = os.environ if environ is None else environ
        settings = _Settings(environ)
        dev, dev_url = settings.read("INNGEST_DEV", _switch_or_url) or (False, None)
        production = not dev if is_production is None else is_production
        base_url = settings.read("INNGEST_BASE_URL", _base_url)
        if base_url is None and not production:
            base_url = dev_url or DEV_SERVER_ORIGIN
        allow_in_band_sync = settings.read("INNGEST_ALLOW_IN_BAND_SYNC", _switch)
        timeout = settings.check("request_timeout", request_timeout, _seconds)
        config = cls(
            is_production=production,
            api_origin=settings.check("api_base_url", api_base_url, _base_url)
            or settings.read("INNGEST_API_BASE_URL", _base_url)
            or base_url
            or CLOUD_API_ORIGIN,
            event_api_origin=settings.check("event_api_base_url", event_api_base_url, _base_url)
            or settings.read("INNGEST_EVENT_API_BASE_URL", _base_url)
            or base_url
            or CLOUD_EVENT_API_ORIGIN,
            event_key=settings.key("INNGEST_EVENT_KEY", "event_key", event_key),
            signing_key=settings.key("INNGEST_SIGNING_KEY", "signing_key", signing_key),
            signing_key_fallback=settings.key("INNGEST_SIGNING_KEY_FALLBACK"),
            env=env or settings.first("INNGEST_ENV", *BRANCH_VARIABLES),
            serve_origin=settings.read("INNGEST_SERVE_ORIGIN", origin),
            serve_path=settings.read("INNGEST_SERVE_PATH", path),
            allow_in_band_sync=True if allow_in_band_sync is None else allow_in_band_sync,
            request_timeout=DEFAULT_REQUEST_TIMEOUT if timeout is None else timeout,
            streaming=settings.check("streaming", streaming, _streaming_argument)
            or settings.read("INNGEST_STREAMING", _streaming)
            or Streaming.DISABLE,
            cloud=_cloud(environ),
            allow_dev=settings.read("INNGEST_ALLOW_DEV", _switch) or False,
        )
        settings.complain()
        return config

    def serving(self, serve_origin: str | None, serve_path: str | None) -> Config:
        """Return this config with a front door's own arguments put before the environment's.

        Raises ConfigError.
        """
        settings = _Settings({})
        config = replace(
            self,
            serve_origin=settings.check("serve_origin", serve_origin, origin) or self.serve_origin,
            serve_path=settings.check("serve_path", serve_path, path) or self.serve_path,
        )
        settings.complain()
        return config

    def streamed(self, streaming: Streaming | None) -> Streaming:
        """Return what a front door's own argument settles, or this config where it says nothing.

        Raises ConfigError.
        """
        settings = _Settings({})
        settled = settings.check("streaming", streaming, _streaming_argument) or self.streaming
        settings.complain()
        return settled


class _Settings:
    """Reads values by name and remembers what is wrong with them. An empty value is no value:
    templates and compose files often set variables to nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []
        self._secret_age = self.read("INNGEST_SECRETS_MAX_AGE", _secret_age) or DEFAULT_SECRET_AGE

    def first(self, *names: str) -> str | None:
        return next((value for name in names if (value := self._environ.get(name))), None)

    def read(self, name: str, convert: Callable[[str], T]) -> T | None:
        # A newline at the end is what `echo key | …` and many secret stores leave behind.
        return self.check(name, self._environ.get(name, "").strip(), convert)

    def check(self, name: str, value: V | None, convert: Callable[[V], T]) -> T | None:
        if value is None or value == "":
            return None
        try:
            return convert(value)
        except ValueError as error:
            self._problems.append(f"{name} {error}")
            return None

    def key(self, variable: str, argument: str = "", given: str | None = None) -> Key | None:
        """The key that the argument is, else the variable: a value, or where it lies."""
        name, value = (argument, given) if given else (variable, self._environ.get(variable, ""))
        is_signing_key = variable != "INNGEST_EVENT_KEY"

        def convert(text: str) -> Key:
            _refuse_unresolved(text)
            scheme, colon, where = text.partition(":")
            if not colon:
                return signing_key_of(text) if is_signing_key else Secret(text)
            if scheme not in schemes:
                raise ValueError(
                    "has a colon, as what says where a key lies, but does not begin with one of "
                    f"{', '.join(sorted(schemes))} (others: inngest_serverless.secrets.register)"
                )
            if not where:
                raise ValueError(f"is {text!r}; the name of the secret is missing")
            return Reference(scheme, where, name, is_signing_key, self._secret_age)

        return self.check(name, value.strip(), convert)

    def complain(self) -> None:
        if self._problems:
            raise ConfigError("; ".join(self._problems))


# Each of these reads one value, or raises a ValueError that goes on after the setting's name.


def origin(value: str) -> str:
    """Read scheme and host, such as "https://example.com". Raises ValueError."""
    url = _base_url(value)
    if urlsplit(url).path:
        raise ValueError(
            f"is {value!r}, with a path; it takes only scheme and host: the path goes to "
            "INNGEST_SERVE_PATH or serve_path"
        )
    return url


def path(value: str) -> str:
    """Read the path of a URL, with or without its first slash. Raises ValueError."""
    if "://" in value or "?" in value or "#" in value:
        raise ValueError(f"is {value!r}; it takes a path such as '/api/inngest'")
    return value if value.startswith("/") else f"/{value}"


def _base_url(value: str) -> str:
    example = "'https://inngest.example.com'"
    try:
        parts = urlsplit(value)
        valid_port = parts.port != 0  # ValueError for what is no port
    except ValueError as error:
        raise ValueError(f"is {value!r}: {error}; it takes a URL such as {example}") from None
    has_host = parts.scheme in ("http", "https") and parts.hostname and valid_port
    if not has_host or parts.query or parts.fragment:
        raise ValueError(f"is {value!r}; it takes a URL such as {example}")
    return value.rstrip("/")


def _switch(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(f"is {value!r}; it takes 1 or 0")


def _switch_or_url(value: str) -> tuple[bool, str | None]:
    if "://" in value:
        return True, _base_url(value)
    try:
        return _switch(value), None
    except ValueError:
        raise ValueError(f"is {value!r}; it takes 1, 0, or the dev server's URL") from None


def _streaming(value: str) -> Streaming:
    try:
        return Streaming(value.lower())
    except ValueError:
        pass
    try:
        return Streaming.ALLOW if _switch(value) else Streaming.DISABLE
    except ValueError:
        raise ValueError(f"is {value!r}; it takes allow (or 1), disable (or 0), or force") from None


def _streaming_argument(value: object) -> Streaming:
    if isinstance(value, Streaming):
        return value
    raise ValueError(
        f"is {value!r}; it takes Streaming.ALLOW, Streaming.DISABLE or Streaming.FORCE"
    )


def _seconds(value: object) -> float:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value / 1000
    else:
        seconds = 0.0
    if seconds <= 0:
        raise ValueError(f"is {value!r}; it takes milliseconds or a timedelta, above zero")
    return seconds


schemes: set[str] = set(_SCHEMES)
"""What a reference begins with. Others are added by `keys.register`."""


def signing_key_of(value: str) -> Secret:
    """Read a signing key. Raises ValueError, without the value."""
    if not _SIGNING_KEY.fullmatch(value):
        raise ValueError(
            "is not a signing key (not shown here): it takes an even number of hex digits, with "
            "or without a prefix such as 'signkey-prod-'"
        )
    return Secret(value)


def _refuse_unresolved(value: str) -> None:
    if value.startswith(_UNRESOLVED):
        raise ValueError(
            f"is {value!r}: Azure has not resolved this Key Vault reference. Check that the app "
            "has a managed identity, that it may get secrets of the vault, that the vault can be "
            "reached and that the secret exists, then restart the app"
        )


def _secret_age(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not MIN_SECRET_AGE <= seconds < float("inf"):
        raise ValueError(f"is {value!r}; it takes seconds, {MIN_SECRET_AGE:g} or more")
    return seconds


def _cloud(environ: Mapping[str, str]) -> str | None:
    # Log streams are named by the platform: nobody can give a function in the cloud a local one.
    if environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "").startswith("local/"):
        return None
    if environ.get("AWS_SAM_LOCAL") == "true":
        return None
    for variable, cloud in _CLOUDS.items():
        if environ.get(variable):
            return f"{cloud} ({variable} is set)"
    return None
