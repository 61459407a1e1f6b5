"""`inngest-serverless send`: events from the command line."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from inngest_serverless.cli.api import EngineApi, engine_url
from inngest_serverless.cli.problems import WrongUse
from inngest_serverless.cli.show import print_json
from inngest_serverless.engine import jsontext


@click.command("send")
@click.argument("name", required=False)
@click.option(
    "--data", "-d", metavar="JSON|@FILE|-", help="The event's data: JSON, a file, or - for stdin."
)
@click.option("--id", "event_id", metavar="ID", help="The event's id: a second one starts no run.")
@click.option("--ts", metavar="TIME", help="Its time, in ms since 1970 or as 2026-01-31T12:00Z.")
@click.option(
    "--file",
    "-f",
    "events_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the events of a JSON file: one event, or a list of events.",
)
@click.option("--url", metavar="URL", help="The engine.  [default: INNGEST_DEV, or port 8288 here]")
@click.option(
    "--key", default="dev", envvar="INNGEST_EVENT_KEY", show_envvar=True, help="The event key."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ids as JSON.")
def send_command(
    name: str | None,
    data: str | None,
    event_id: str | None,
    ts: str | None,
    events_file: Path | None,
    url: str | None,
    key: str,
    as_json: bool,
) -> None:
    """Send the event NAME, or those of a file, to the engine.

    \b
    inngest-serverless send shop/order.placed --data '{"order_id": "1"}'
    inngest-serverless send --file events.json
    """
    if (name is None) == (events_file is None):
        raise WrongUse("name one event, or give a file of events with --file")
    if events_file is not None:
        if data is not None or event_id is not None or ts is not None:
            raise WrongUse("--data, --id and --ts go with one event; a file holds its own")
        events = events_from(_read(events_file), str(events_file))
    else:
        events = [event(name or "", data, event_id, ts)]
    ids = asyncio.run(_send(engine_url(url), events, key))
    if as_json:
        print_json({"ids": ids})
        return
    for sent, internal_id in zip(events, ids, strict=False):
        click.echo(f"sent {sent['name']}  {internal_id}")


def event(name: str, data: str | None, event_id: str | None, ts: str | None) -> dict[str, Any]:
    """Return one event made of what the options say."""
    made: dict[str, Any] = {"name": _utf8(name, "the event's name"), "data": _data(data)}
    if event_id is not None:
        made["id"] = _utf8(event_id, "--id")
    if ts is not None:
        made["ts"] = _milliseconds(ts)
    return made


def events_from(text: str, source: str) -> list[dict[str, Any]]:
    """Return the events in a JSON text: one object, or a list of them."""
    parsed = _json(text, source)
    events = parsed if isinstance(parsed, list) else [parsed]
    for index, each in enumerate(events):
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise WrongUse(f"{source}: event {index + 1} has to be an object with a name")
    return events


def _data(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    if given == "-":
        parsed = _json(_stdin(), "standard input")
    elif given.startswith("@"):
        parsed = _json(_read(Path(given[1:])), given[1:])
    else:
        parsed = _json(given, "--data")
    if not isinstance(parsed, dict):
        raise WrongUse(f"an event's data is a JSON object, and this is not: {given}")
    return parsed


def _utf8(word: str, source: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise WrongUse(f"{source} is not UTF-8: {word!r}") from None
    return word


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"cannot read {path}: {error}") from None


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise WrongUse(f"cannot read standard input: {error}") from None


def _json(text: str, source: str) -> Any:
    try:
        return jsontext.read(text.encode())  # by the engine's rules, so that it is taken there
    except ValueError as error:
        raise WrongUse(f"{source} is not JSON: {error}") from None


def _milliseconds(ts: str) -> int:
    try:
        if ts.isdecimal():
            return int(ts)
        # Python 3.10 does not know the Z
        return int(datetime.fromisoformat(ts.replace("Z", "+00:00")).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise WrongUse(
            f"--ts {ts}: give milliseconds since 1970, or a time like 2026-01-31T12:00Z"
        ) from None


async def _send(url: str, events: list[dict[str, Any]], key: str) -> list[str]:
    async with EngineApi(url) as api:
        return await api.send(events, key)
