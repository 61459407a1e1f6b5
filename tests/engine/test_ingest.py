"""What comes in at /e/{key} (engine.md 1.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_serverless.engine.ingest import (
    MAX_EVENT,
    IncomingEvent,
    Ingest,
    internal_ids,
    read_events,
)

from .captures import exchanges


def read(value: Any, **options: Any) -> Ingest:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_events(body, **options)


def error_of(value: Any, **options: Any) -> str:
    found = read(value, **options)
    assert found.error is not None
    return found.error


def test_one_event_or_an_array_of_them() -> None:
    one = {"name": "a/b", "data": {"n": 1}}
    assert read(one) == Ingest((IncomingEvent("a/b", {"n": 1}),))
    assert read([one, {"name": "c"}]) == Ingest(
        (IncomingEvent("a/b", {"n": 1}), IncomingEvent("c"))
    )
    assert read([]) == Ingest(())


def test_every_field_is_kept() -> None:
    event: dict[str, Any] = {
        "id": "order-1",
        "name": "a/b",
        "data": {"n": 1},
        "ts": 1_700_000_000_000,
        "v": "2",
        "user": {"id": 7},
        "meta": {"sessions": {"chat": "s1"}},
    }
    assert read(event).events == (
        IncomingEvent("a/b", {"n": 1}, "order-1", 1_700_000_000_000, {"id": 7}, "2", event["meta"]),
    )


def test_nulls_and_an_empty_id_count_as_left_out() -> None:
    event = {"name": "a", "data": None, "id": "", "ts": None, "v": None, "user": None, "meta": None}
    assert read(event).events == (IncomingEvent("a"),)


def test_the_servers_own_part_of_data_is_dropped() -> None:
    assert read({"name": "a", "data": {"_inngest": {"fn_id": "x"}, "n": 1}}).events[0].data == {
        "n": 1
    }


def test_a_recorded_request_gives_its_events_the_recorded_ids() -> None:
    for exchange in (*exchanges("py-dev.jsonl"), *exchanges("py-signed.jsonl")):
        request = exchange["request"]
        if request["path"].startswith("/e/"):
            found = read(request["raw_body"].encode(), content_type="application/json")
            seed = request["headers"]["x-inngest-event-id-seed"]
            assert found.error is None
            assert internal_ids(seed, 2) == exchange["response"]["body"]["ids"]


@pytest.mark.parametrize("name", ["inngest/foo", "INNGEST/foo", "Inngest/function.finished"])
def test_reserved_names_are_refused_with_the_text_that_clients_compare(name: str) -> None:
    assert error_of({"name": name}) == f"event name is reserved for internal use: {name}"


def test_the_events_before_a_bad_one_are_taken_and_no_others() -> None:
    found = read([{"name": "a"}, {"name": "inngest/x"}, {"name": "b"}])
    assert found.events == (IncomingEvent("a"),)
    assert found.error is not None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"name":"a","data":{"x":NaN}}', "NaN"),
        (b'{"name":"a","data":{"x":1e999}}', "too large"),
        (b'{"name":"a","data":{"x":' + b"9" * 5000 + b"}}", "too large"),
        (b"[" * 100_000 + b"]" * 100_000, "deeper"),
        (b'{"name":"a","data":' + b'{"x":' * 300 + b"1" + b"}" * 301, "deeper"),
        (3, "not 3"),
        ("text", "array of events"),
        (None, "not null"),
        ([3], "not 3"),
        ([None], "not null"),
        ([[{"name": "a"}]], "JSON object"),
        ({}, "name is empty"),
        ({"name": ""}, "name is empty"),
        ({"name": None}, "name is empty"),
        ({"name": 5}, "name is empty"),
        ({"name": "x" * 513}, "513 characters"),
        ({"name": "a", "data": []}, "data is []"),
        ({"name": "a", "data": "x"}, "data is"),
        ({"name": "a", "user": 1}, "user is 1"),
        ({"name": "a", "id": 1}, "id is 1"),
        ({"name": "a", "v": 1}, "v is 1"),
        ({"name": "a", "meta": 1}, "meta is 1"),
        ({"name": "a", "meta": {"sessions": [1]}}, "sessions"),
        ({"name": "a", "meta": {"sessions": {str(n): "x" for n in range(6)}}}, "6 keys"),
        ({"name": "a", "meta": {"sessions": {"é" * 65: "x"}}}, "128 bytes"),
        ({"name": "a", "meta": {"sessions": {"k": "x" * 513}}}, "512 bytes"),
        ({"name": "a", "meta": {"sessions": {"k": 1}}}, "must be text"),
        ({"name": "a", "ts": "2024"}, "whole number"),
        ({"name": "a", "ts": 1.5}, "whole number"),
        ({"name": "a", "ts": 1.0e12}, "whole number"),
        ({"name": "a", "ts": True}, "whole number"),
        ({"name": "a", "ts": 0}, "between 1980 and 2100"),
        ({"name": "a", "ts": 315_532_799_999}, "between 1980 and 2100"),
        ({"name": "a", "ts": 4_102_444_800_001}, "between 1980 and 2100"),
        ({"name": "a", "ts": -(10**200)}, "between 1980 and 2100"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(value: Any, said: str) -> None:
    found = read(value)
    assert found.events == ()
    assert said in (found.error or "")


def test_an_event_of_3_mib_is_taken_and_a_larger_one_refused_by_size() -> None:
    frame = len(json.dumps({"name": "a", "data": {"x": ""}}, separators=(",", ":")))
    largest = {"name": "a", "data": {"x": "y" * (MAX_EVENT - frame)}}
    too_large = {"name": "a", "data": {"x": "y" * (MAX_EVENT - frame + 1)}}
    assert len(read([largest, largest]).events) == 2
    found = read([{"name": "b"}, too_large])
    assert len(found.events) == 1
    assert str(MAX_EVENT) in (found.error or "")
    assert str(MAX_EVENT + 1) in (found.error or "")


def test_of_more_than_5000_events_the_first_5000_are_taken() -> None:
    found = read([{"name": "a"}] * 5_001)
    assert len(found.events) == 5_000
    assert "5001 events" in (found.error or "")


def test_half_a_surrogate_pair_is_replaced_because_it_cannot_be_stored() -> None:
    found = read(b'{"name":"a","data":{"\\ud800":"x\\uDFFFy","ok":"\\ud83d\\ude00"}}')
    assert found.events[0].data == {"\ufffd": "x\ufffdy", "ok": "\U0001f600"}


# ── seeds ────────────────────────────────────────────────────────────────────────────────────────


def test_a_seed_fixes_the_ids() -> None:
    seed = "1700000000000,AAECAwQFBgcICQ=="
    assert internal_ids(seed, 2) == ["01HF7YAT00000G40R40M30E20A", "01HF7YAT00000G40R40M30E20B"]


@pytest.mark.parametrize(
    "seed",
    [None, "", "1700000000000", ",", "x,AAECAwQFBgcICQ==", "1,AAEC", "-1,AAECAwQFBgcICQ==", "1,é"],
)
def test_a_bad_seed_leaves_the_ids_to_the_engine(seed: str | None) -> None:
    assert internal_ids(seed, 2) == [None, None]


# ── forms ────────────────────────────────────────────────────────────────────────────────────────


def test_a_url_encoded_form_becomes_an_event() -> None:
    found = read(
        b"a=1&a=2&b=%C3%A9&c=",
        content_type="application/x-www-form-urlencoded; charset=utf-8",
        query={"name": "form/sent"},
    )
    assert found == Ingest((IncomingEvent("form/sent", {"a": ["1", "2"], "b": ["é"], "c": [""]}),))


def test_a_multipart_form_becomes_an_event() -> None:
    parts = (
        b'--xx\r\nContent-Disposition: form-data; name="name"\r\n\r\nform/sent\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="a"; filename="f.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nline 1\r\nline 2\r\n--xx--\r\n"
    )
    found = read(parts, content_type="multipart/form-data; boundary=xx")
    assert found.events == (
        IncomingEvent("form/sent", {"name": ["form/sent"], "a": ["1", "line 1\r\nline 2"]}),
    )


def test_a_form_without_a_name_says_where_to_put_one() -> None:
    assert "?name=" in error_of(b"a=1", content_type="application/x-www-form-urlencoded")


def test_a_multipart_form_without_its_boundary_is_refused() -> None:
    assert "boundary" in error_of(b"xx", content_type="multipart/form-data")


def test_json_under_any_other_content_type_is_json() -> None:
    assert read({"name": "a"}, content_type="text/plain").events == (IncomingEvent("a"),)


# ── whatever comes ───────────────────────────────────────────────────────────────────────────────

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_EVENT = st.fixed_dictionaries(
    {},
    optional={
        name: _JSON | st.just("a/b")
        for name in ("name", "data", "id", "ts", "user", "v", "meta", "sessions")
    },
)


@given(
    body=st.binary()
    | (_JSON | _EVENT | st.lists(_EVENT | _JSON)).map(lambda value: json.dumps(value).encode()),
    content_type=st.text(max_size=20)
    | st.sampled_from(
        [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            'multipart/form-data; boundary="é',
        ]
    ),
    query=st.dictionaries(st.just("name"), st.text()),
)
def test_whatever_is_sent_is_events_or_a_reason(
    body: bytes, content_type: str, query: dict[str, str]
) -> None:
    found = read_events(body, content_type, query)
    assert found.error is None or found.error
    for event in found.events:
        assert event.name
        assert isinstance(event.data, dict)
        json.dumps([event.data, event.user, event.meta], allow_nan=False).encode()


@given(st.text() | st.binary(max_size=14).map(lambda b: f"1,{b!r}"), st.integers(0, 5))
def test_whatever_the_seed_the_ids_are_as_many_as_the_events(seed: str, count: int) -> None:
    assert len(internal_ids(seed, count)) == count
