"""What `POST /fn/register` holds: an SDK's description of its app → App and FunctionConfigs.

Pure; engine.md 1.3. One invalid function refuses the whole sync, with a text for its author.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from inngest_serverless.engine import durations, jsontext, schedule
from inngest_serverless.engine.model import (
    JSON,
    App,
    CancelOn,
    CronTrigger,
    EventTrigger,
    FunctionConfig,
)

DEFAULT_RETRIES = 4
MAX_RETRIES = 20
MAX_TRIGGERS = 10
MAX_CANCELS = 5
MAX_CONCURRENCY = 2
MAX_TEXT = 255

_SECOND_MS = 1_000
_LOCAL_NAMES = frozenset({"127.0.0.1", "0.0.0.0", "::1", "::"})
_BLOCKED_JS = ((3, 22, 0), (3, 53, 1))

# SDKs differ in case (`appname`, `Singleton`); every reader after this one sees these.
_BODY_KEYS = (
    *("url", "v", "deployType", "sdk", "framework", "appName", "appVersion", "functions"),
    *("headers", "capabilities"),
)
_FUNCTION_KEYS = (
    *("id", "name", "triggers", "steps", "concurrency", "throttle", "rateLimit", "debounce"),
    *("batchEvents", "priority", "idempotency", "singleton", "cancel", "timeouts", "checkpoint"),
)
_OPTION_KEYS = (
    *("event", "expression", "cron", "jitter", "if", "timeout", "id", "name", "runtime"),
    *("type", "url", "retries", "attempts", "limit", "key", "scope", "fn", "step", "period"),
    *("burst", "maxSize", "run", "mode", "start", "finish"),
)


@dataclass(frozen=True)
class Registration:
    """A valid registration."""

    app: App
    functions: tuple[FunctionConfig, ...]


class RegistrationInvalid(ValueError):
    """The SDK sent what cannot be registered; the text says what, with the value.

    `is_kind_mismatch`: the app answers to another kind of server; its error has a form of its own.
    """

    def __init__(self, message: str, *, is_kind_mismatch: bool = False) -> None:
        super().__init__(message)
        self.is_kind_mismatch = is_kind_mismatch


def read_registration(
    body: bytes, headers: Mapping[str, str], *, now_ms: int, server_kinds: Iterable[str] = ("dev",)
) -> Registration:
    """Read a registration. `headers` has lower-case names. Raises RegistrationInvalid."""
    _check_kind(headers.get("x-inngest-expected-server-kind", ""), list(server_kinds))
    fields = _body(body)
    name = fields.get("appName")
    if not isinstance(name, str) or not name.strip():
        _refuse("the registration has no app name; set appName (in Python: Inngest(app_id=...))")
    sdk = _text(fields, "sdk", "the registration")
    _check_sdk(sdk)
    app = App(
        app_id=app_id_of(name),
        name=name,
        url=normal_url(_url(fields, "the registration")),
        sdk=sdk,
        framework=_text(fields, "framework", "the registration"),
        platform=_text(_object(fields, "headers", "the registration"), "platform", "headers"),
        app_version=_text(fields, "appVersion", "the registration") or None,
        synced_ms=now_ms,
    )
    return Registration(app, _functions(fields.get("functions"), app))


def app_id_of(name: str) -> str:
    """The app's UUID. It depends on the name alone, and is the one real servers give it."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def function_id_of(app_id: str, slug: str) -> str:
    """The function's UUID; a new URL keeps it."""
    return str(uuid.uuid5(uuid.UUID(app_id), slug))


def normal_url(url: str) -> str:
    """Write a URL the one way it is stored: `localhost` for this machine, no sync parameters."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOCAL_NAMES:
        port = f":{parts.port}" if parts.port is not None else ""
        parts = parts._replace(netloc=f"localhost{port}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in query if key not in ("deployId", "probe")]
    if kept != query:
        parts = parts._replace(query=urlencode(kept))
    return urlunsplit(parts._replace(fragment=""))


def _check_kind(expected: str, kinds: list[str]) -> None:
    if expected and expected not in kinds:
        raise RegistrationInvalid(
            f"the app expects a server of kind {expected!r}, and this one is {kinds[0]!r}; set "
            "INNGEST_DEV=1 for the app, or start this server with the app's signing key",
            is_kind_mismatch=True,
        )


def _check_sdk(sdk: str) -> None:
    version = re.fullmatch(r"(?:inngest-)?js:v?(\d{1,6})\.(\d{1,6})\.(\d{1,6}).*", sdk)
    if version is None:
        return
    lowest, highest = _BLOCKED_JS
    if lowest <= tuple(int(part) for part in version.groups()) <= highest:
        _refuse(f"{sdk} has a security flaw (CVE-2026-42047); update inngest to 3.54.0 or later")


def _body(body: bytes) -> dict[str, JSON]:
    try:
        fields = jsontext.read(body)
    except ValueError as error:
        _refuse(f"the registration is not JSON: {error}")
    if not isinstance(fields, dict):
        _refuse(f"the registration must be a JSON object, not {_shown(fields)}")
    return _spelled(fields, _BODY_KEYS)


def _functions(listed: JSON, app: App) -> tuple[FunctionConfig, ...]:
    if listed is None:
        return ()
    if not isinstance(listed, list):
        _refuse(f"functions is {_shown(listed)}; it must be an array")
    found = tuple(_function(item, index, app) for index, item in enumerate(listed))
    seen: set[str] = set()
    for function in found:
        if function.slug in seen:
            _refuse(f"two functions have the id {function.slug!r}; an id belongs to one function")
        seen.add(function.slug)
    return found


def _function(item: JSON, index: int, app: App) -> FunctionConfig:
    if not isinstance(item, dict):
        _refuse(f"function {index} is {_shown(item)}; it must be an object")
    config = _spelled(item, _FUNCTION_KEYS)
    slug = config.get("id")
    if not isinstance(slug, str) or not slug.strip():
        _refuse(f"function {index} has no id")
    where = f"function {slug!r}"
    _check_flow(config, where)
    url, retries = _step(config.get("steps"), where)
    return FunctionConfig(
        function_id=function_id_of(app.app_id, slug),
        app_id=app.app_id,
        app_name=app.name,
        slug=slug,
        name=_text(config, "name", where) or slug,
        url=url,
        retries=retries,
        triggers=_triggers(config.get("triggers"), where),
        cancels=_cancels(config.get("cancel"), where),
        idempotency=_text(config, "idempotency", where) or None,
        config=config,
    )


def _step(steps: JSON, where: str) -> tuple[str, int]:
    """The URL and the retries of the one step that a function is to the server."""
    if not isinstance(steps, dict) or len(steps) != 1:
        count = len(steps) if isinstance(steps, dict) else 0
        _refuse(f"{where} has {count} steps; it must have exactly one")
    step = _options(next(iter(steps.values())), f"{where}: its step")
    runtime = _options(step.get("runtime"), f"{where}: runtime")
    kind = _text(runtime, "type", where) or "http"
    if kind != "http":
        _refuse(f"{where} is reached by {kind!r}; only 'http' can be called here")
    retries = _options(step.get("retries") or {}, f"{where}: retries")
    attempts = retries.get("attempts")
    if attempts is None:
        attempts = DEFAULT_RETRIES
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 0:
        _refuse(f"{where}: retries.attempts is {_shown(attempts)}; it is a number from 0 to 20")
    return normal_url(_url(runtime, f"{where}: runtime")), min(attempts, MAX_RETRIES)


# ── triggers and cancellations ───────────────────────────────────────────────────────────────────


def _triggers(listed: JSON, where: str) -> tuple[EventTrigger | CronTrigger, ...]:
    items = _list(listed, f"{where}: triggers")
    if len(items) > MAX_TRIGGERS:
        _refuse(f"{where} has {len(items)} triggers; {MAX_TRIGGERS} is the most")
    triggers = tuple(_trigger(_options(item, f"{where}: a trigger"), where) for item in items)
    for index, trigger in enumerate(triggers):
        if trigger in triggers[:index]:
            _refuse(f"{where} has the same trigger twice: {_shown(items[index])}")
    return triggers


def _trigger(trigger: dict[str, JSON], where: str) -> EventTrigger | CronTrigger:
    event, cron = _text(trigger, "event", where), _text(trigger, "cron", where)
    if bool(event) == bool(cron):
        _refuse(f"{where}: a trigger names an event or a cron, not {_shown(trigger)}")
    _check_text(event or cron, f"{where}: the trigger")
    if event:
        return EventTrigger(event, _text(trigger, "expression", where) or None)
    _check_cron(cron, where)
    jitter = _span(trigger, "jitter", where, least=_SECOND_MS, most=5 * 60 * _SECOND_MS)
    return CronTrigger(cron, jitter or 0)


def _check_cron(cron: str, where: str) -> None:
    try:
        schedule.check(cron)
    except (ValueError, OverflowError) as error:
        _refuse(f"{where}: {error}")


def _cancels(listed: JSON, where: str) -> tuple[CancelOn, ...]:
    items = _list(listed, f"{where}: cancel")
    if len(items) > MAX_CANCELS:
        _refuse(f"{where} has {len(items)} cancel events; {MAX_CANCELS} is the most")
    return tuple(_cancel(_options(item, f"{where}: cancel"), where) for item in items)


def _cancel(cancel: dict[str, JSON], where: str) -> CancelOn:
    event = _text(cancel, "event", where)
    if not event:
        _refuse(f"{where}: a cancel names no event: {_shown(cancel)}")
    _check_text(event, f"{where}: cancel")
    timeout = _span(cancel, "timeout", f"{where}: cancel")
    return CancelOn(event, _text(cancel, "if", where) or None, timeout)


# ── flow control ─────────────────────────────────────────────────────────────────────────────────


def _check_flow(config: dict[str, JSON], where: str) -> None:
    """Check, and spell, the options that the engine reads from `config` later."""
    for name in ("throttle", "rateLimit", "debounce", "batchEvents", "singleton", "priority"):
        if config.get(name) is not None:
            config[name] = _options(config[name], f"{where}: {name}")
    if config.get("timeouts") is not None:
        config["timeouts"] = _options(config["timeouts"], f"{where}: timeouts")
        for name in ("start", "finish"):
            _span(config["timeouts"], name, f"{where}: timeouts")
    _check_concurrency(config, where)
    _check_rates(config, where)
    _check_debounce(config.get("debounce"), f"{where}: debounce")
    _check_batch(config, f"{where}: batchEvents")
    _check_names(config, where)


def _check_rates(config: dict[str, JSON], where: str) -> None:
    for name in ("throttle", "rateLimit"):
        option = config.get(name)
        if option is None:
            continue
        _count(option, "limit", f"{where}: {name}", least=1)
        if name == "throttle" and option.get("burst") is not None:
            _count(option, "burst", f"{where}: {name}", least=0)
        most = durations.DAY_MS if name == "rateLimit" else None
        period = _span(option, "period", f"{where}: {name}", least=_SECOND_MS, most=most)
        if period is None:
            _refuse(f"{where}: {name} has no period")
        _text(option, "key", f"{where}: {name}")


def _check_concurrency(config: dict[str, JSON], where: str) -> None:
    """A number, an object, an array of them, or {fn, step} of arrays (engine.md 1.3)."""
    value = config.get("concurrency")
    if isinstance(value, dict):
        value = _spelled(value, _OPTION_KEYS)
        config["concurrency"] = value
    limits: list[JSON]
    if value is None:
        limits = []
    elif isinstance(value, dict) and ("fn" in value or "step" in value):
        limits = [
            *_list(value.get("fn"), f"{where}: concurrency.fn"),
            *_list(value.get("step"), f"{where}: concurrency.step"),
        ]
    else:
        limits = value if isinstance(value, list) else [value]
    if len(limits) > MAX_CONCURRENCY:
        _refuse(f"{where} has {len(limits)} concurrency limits; {MAX_CONCURRENCY} is the most")
    for limit in limits:
        _check_limit(limit, f"{where}: concurrency")


def _check_limit(limit: JSON, where: str) -> None:
    option = {"limit": limit} if not isinstance(limit, dict) else _spelled(limit, _OPTION_KEYS)
    _count(option, "limit", where, least=0)
    _text(option, "key", where)
    scope = option.get("scope", "fn")
    if scope not in ("fn", "env", "account"):
        _refuse(f"{where}: scope is {_shown(scope)}; it is one of 'fn', 'env', 'account'")


def _check_debounce(option: JSON, where: str) -> None:
    if option is None:
        return
    if _span(option, "period", where, least=_SECOND_MS, most=7 * durations.DAY_MS) is None:
        _refuse(f"{where} has no period")
    _span(option, "timeout", where)
    _text(option, "key", where)


def _check_batch(config: dict[str, JSON], where: str) -> None:
    option = config.get("batchEvents")
    if option is None:
        return
    _count(option, "maxSize", where, least=2)
    _span(option, "timeout", where, least=_SECOND_MS)
    for name in ("key", "if"):
        _text(option, name, where)
    excluded = [
        name for name in ("cancel", "debounce", "singleton", "priority") if config.get(name)
    ]
    if excluded:
        _refuse(f"{where} cannot be combined with {', '.join(excluded)}")


def _check_names(config: dict[str, JSON], where: str) -> None:
    singleton, priority = config.get("singleton"), config.get("priority")
    if singleton is not None:
        mode = singleton.get("mode")
        if mode not in (None, "", "skip", "cancel"):
            _refuse(f"{where}: singleton.mode is {_shown(mode)}; it is 'skip' or 'cancel'")
        _text(singleton, "key", f"{where}: singleton")
    if priority is not None:
        _text(priority, "run", f"{where}: priority")


# ── reading JSON ─────────────────────────────────────────────────────────────────────────────────


def _spelled(fields: dict[str, JSON], known: Iterable[str]) -> dict[str, JSON]:
    """Give known keys their usual spelling; where two spell the same key, the exact one counts."""
    exact = {name.lower(): name for name in known}
    renamed = {exact.get(key.lower(), key): value for key, value in fields.items()}
    return {**renamed, **{key: value for key, value in fields.items() if key in renamed}}


def _options(value: JSON, where: str) -> dict[str, JSON]:
    if not isinstance(value, dict):
        _refuse(f"{where} is {_shown(value)}; it must be an object")
    return _spelled(value, _OPTION_KEYS)


def _object(fields: dict[str, JSON], name: str, where: str) -> dict[str, JSON]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse(f"{where}: {name} is {_shown(value)}; it must be an object")
    return value


def _list(value: JSON, where: str) -> list[JSON]:
    if value is None:
        return []
    if not isinstance(value, list):
        _refuse(f"{where} is {_shown(value)}; it must be an array")
    return value


def _text(fields: dict[str, JSON], name: str, where: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(f"{where}: {name} is {_shown(value)}; it must be text")
    return value


def _url(fields: dict[str, JSON], where: str) -> str:
    url = _text(fields, "url", where)
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        is_usable = False
    if not is_usable:
        _refuse(f"{where}: url is {_shown(url)}; it must be an absolute http(s) URL")
    return url


def _count(fields: dict[str, JSON], name: str, where: str, *, least: int) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        _refuse(f"{where}: {name} is {_shown(value)}; it must be a whole number of {least} or more")
    return value


def _span(
    fields: dict[str, JSON],
    name: str,
    where: str,
    *,
    least: int | None = None,
    most: int | None = None,
) -> int | None:
    written = _text(fields, name, where)
    if not written:
        return None
    try:
        span = durations.duration_ms(written)
    except (ValueError, OverflowError) as error:
        _refuse(f"{where}: {name}: {error}")
    if span < (least or 0):
        _refuse(f"{where}: {name} is {written!r}; the least allowed is {_seconds(least or 0)}")
    if most is not None and span > most:
        _refuse(f"{where}: {name} is {written!r}; the most allowed is {_seconds(most)}")
    return span


def _check_text(text: str, where: str) -> None:
    if len(text) > MAX_TEXT:
        _refuse(f"{where} has {len(text)} characters; {MAX_TEXT} is the most: {text[:60]}…")


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1_000}s"


def _shown(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _refuse(message: str) -> NoReturn:
    raise RegistrationInvalid(message)
