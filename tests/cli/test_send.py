"""`inngest-serverless send`."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from inngest_serverless.cli.send import event

from .conftest import Invoke


def ids_in(output: str) -> list[str]:
    ids: list[str] = json.loads(output)["ids"]
    return ids


def test_it_prints_the_name_and_the_id_of_what_it_sent(invoke: Invoke, engine: str) -> None:
    done = invoke("send", "test/seen", "--data", '{"a": 1}')
    assert done.exit_code == 0, done.output
    assert done.output.startswith("sent test/seen  01")


def test_with_json_it_prints_ids_only(invoke: Invoke, engine: str) -> None:
    assert len(ids_in(invoke("send", "test/seen", "--json").output)) == 1


def test_data_comes_from_standard_input(invoke: Invoke, engine: str) -> None:
    assert invoke("send", "test/seen", "--data", "-", stdin='{"a": 1}').exit_code == 0


def test_data_comes_from_a_file(invoke: Invoke, engine: str, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"a": 1}')
    assert invoke("send", "test/seen", "--data", f"@{tmp_path / 'data.json'}").exit_code == 0


def test_a_file_of_events_is_sent_whole(invoke: Invoke, engine: str, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text('[{"name": "test/one"}, {"name": "test/two"}]')
    done = invoke("send", "--file", str(tmp_path / "events.json"), "--json")
    assert len(ids_in(done.output)) == 2


def test_the_engine_is_found_by_url_too(invoke: Invoke, engine: str) -> None:
    assert invoke("send", "test/seen", "--url", engine + "/").exit_code == 0


def test_what_the_engine_refuses_is_said(invoke: Invoke, engine: str) -> None:
    done = invoke("send", "inngest/mine")
    assert done.exit_code == 1
    assert "reserved" in done.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "name one event, or give a file"),
        (("test/x", "--file", "/dev/null"), "name one event, or give a file"),
        (("test/x", "--data", "{oops"), "--data is not JSON"),
        (("test/x", "--data", "[1]"), "a JSON object"),
        (("test/x", "--data", "@/no/such/file"), "cannot read /no/such/file"),
        (("test/x", "--ts", "soon"), "--ts soon"),
        (("test/x", "--ts", "9" * 5000), "--ts 99"),
        (("test/x", "--url", "localhost:8288"), "has to start with http://"),
        (("--file", "/no/such/file"), "does not exist"),
    ],
)
def test_a_wrong_command_line_is_explained(
    invoke: Invoke, words: tuple[str, ...], complaint: str
) -> None:
    done = invoke("send", *words)
    assert done.exit_code == 2
    assert complaint in done.output


def test_an_event_without_a_name_is_pointed_out_by_its_place(
    invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "events.json").write_text('[{"name": "test/one"}, {"nam": "test/two"}]')
    done = invoke("send", "--file", str(tmp_path / "events.json"))
    assert done.exit_code == 2
    assert "event 2 has to be an object with a name" in done.output


def test_a_time_is_given_as_a_number_or_as_people_write_it() -> None:
    assert event("test/x", None, None, "1769860800000")["ts"] == 1769860800000
    assert event("test/x", None, None, "2026-01-31T12:00Z")["ts"] == 1769860800000


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("test/x", "--data", '{"a": NaN}'), "--data is not JSON: NaN"),
        (("test/x", "--data", '{"a": 1e999}'), "--data is not JSON: the number 1e999"),
        (("test/\udcff",), "the event's name is not UTF-8"),
        (("test/x", "--id", "\udcff"), "--id is not UTF-8"),
        (("test/x", "--data", '{"a": "\udcff"}'), "--data is not JSON"),
        (("test/x", "--url", "http://"), "it names no host"),
        (("test/x", "--url", "http://127.0.0.1:99999"), "ports go from 1 to 65535"),
        (("test/x", "--url", "http://[::1"), "is not a URL"),
    ],
)
def test_what_no_engine_takes_is_not_sent(
    invoke: Invoke, words: tuple[str, ...], complaint: str
) -> None:
    done = invoke("send", *words)
    assert done.exit_code == 2, done.exception
    assert complaint in done.output


def test_half_a_character_is_sent_as_the_sign_for_one(invoke: Invoke, engine: str) -> None:
    done = invoke("send", "test/seen", "--data", '{"a": "\\ud800"}', "--json")
    (event_id,) = ids_in(done.output)
    kept = httpx.get(f"{engine}/v1/events/{event_id}", trust_env=False).json()["data"]
    assert kept["data"] == {"a": "\ufffd"}


def test_a_file_that_is_not_utf_8_is_named(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_bytes(b'{"name": "\xff"}')
    done = invoke("send", "--file", str(tmp_path / "events.json"))
    assert done.exit_code == 2
    assert f"cannot read {tmp_path / 'events.json'}" in done.output
