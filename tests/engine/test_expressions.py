"""CEL as the protocol wants it: loose, with null for what is missing."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from inngest_serverless.engine.evaluator import CelProgram, CelpyProgram, Functions, Program
from inngest_serverless.engine.expressions import (
    ExpressionError,
    bind,
    check,
    evaluate,
    matches,
    satisfies,
)

EVENT: dict[str, Any] = {
    "name": "a/b",
    "ts": 1_700_000_000_000,
    "data": {
        "n": 1,
        "f": 1.5,
        "s": "Text",
        "list": [1, {"id": 3}],
        "odd key": 2,
        "null": None,
        "date": "2023-11-14T22:13:20Z",
        "json": '{"a": 1}',
        "b64": "aGk=",
    },
}
NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    "expression",
    [
        "event.name == 'a/b'",
        "event.data.n == 1.0",
        "event.data.f > event.data.n",
        "event.data.n != '1'",
        "event.data.s != 1",
        "event.data.missing == null",
        "event.data.missing.deep.deeper == null",
        "event.data.s.deep == null",
        "event.data.null == null",
        "event.user.id == async.user.id",
        "event.data.missing == null || event.data.missing.n == 1",
        "event.data.missing.n > 3 || event.data.n == 1",
        "has(event.data.n) && has(event.data.null)",
        "!has(event.data.missing) && !has(event.nothing.at.all)",
        "event.data.list[0] == 1 && event.data.list[1].id == 3 && event.data.list[7] == null",
        "event.data['odd key'] == 2 && event['data'][\"n\"] == 1",
        "event.data.list.exists(each, each == 1)",
        "event.data.n in event.data.list",
        "event.data.s.startsWith('Te') && event.data.s.size() == 4",
        "lowercase(event.data.s) == 'text' && uppercase(event.data.s) == 'TEXT'",
        "b64decode(event.data.b64) == 'hi'",
        "json_parse(event.data.json).a == 1",
        "date(event.data.date) == now() && date(event.ts) == now()",
        "now_plus('1h') > now() && now_minus('1d') < date('2023-11-14')",
        "'event.data.n' != \"it's event.data.s\"",
        "event.data.n == 1 // and event.data.n == 2",
        "event . data . n == 1",
    ],
)
def test_it_holds(expression: str) -> None:
    check(expression)
    assert matches(expression, EVENT, NOW)


@pytest.mark.parametrize(
    "expression",
    [
        "event.data.n == 2",
        "event.data.missing > 1",
        "event.data.s > 1",
        "event.data.missing",
        "event.data.s",
        "event.data.n",
        "event.data.missing.startsWith('x')",
        "event.data.list.exists(each, each.id == 9)",
        "json_parse(event.data.s).a == 1",
        "date('tomorrow') > now()",
        "event.data.n ==",
        "other.data.n == 1",
        "",
    ],
)
def test_what_is_false_or_cannot_be_evaluated_does_not_match(expression: str) -> None:
    assert not matches(expression, EVENT, NOW)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("event.data.n ==", "bad expression"),
        ("", "bad expression ''"),
        ("evnt.data.n == 1", "no variable 'evnt'; there are: event, async"),
        ("upper(event.name) == 'A'", "no function 'upper'"),
        ("event.data.list.all(x, y == 1)", "no variable 'y'"),
    ],
)
def test_a_bad_expression_is_refused_with_its_text_and_a_reason(expression: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        check(expression)
    assert said in str(caught.value)
    assert repr(expression) in str(caught.value)


def test_a_wait_keeps_only_what_it_reads_of_its_own_event() -> None:
    expression = "event.data.n == async.data.n && async.data.ok"
    bound = bind(expression, EVENT)
    assert list(bound.values()) == [1]
    assert satisfies(expression, bound, {"data": {"n": 1.0, "ok": True}}, NOW)
    assert not satisfies(expression, bound, {"data": {"n": 1, "ok": "yes"}}, NOW)
    assert not satisfies(expression, bound, {"data": {"n": 2, "ok": True}}, NOW)


def test_a_key_expression_has_a_value_or_null() -> None:
    assert evaluate("event.data.s + '-' + string(event.data.n)", EVENT, NOW) == "Text-1"
    assert evaluate("event.data.s + event.data.n", EVENT, NOW) is None
    assert evaluate("event.data.s +", EVENT, NOW) is None


@pytest.mark.parametrize("name", ["cel", "celpy"])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a == 1.0 && a != '1' && a != null && s != 1 && a < f && f >= a && !(a > f)", True),
        ("nothing == null && nothing != 1 && t != 1 && t == true", True),
        ("l == [1, 2] && a in l && l.exists(x, x == 2.0)", True),
        ("shout(s) == 'HI' && later() > timestamp('2020-01-01T00:00:00Z')", True),
        ("s > 1", None),
        ("s + '!'", "hi!"),
        ("a + 1", 2),
    ],
)
def test_both_libraries_say_the_same(name: str, source: str, expected: Any) -> None:
    pytest.importorskip(name)
    program: Program = CelProgram(source) if name == "cel" else CelpyProgram(source)
    values = {"a": 1, "f": 1.5, "s": "hi", "l": [1, 2], "nothing": None, "t": True}
    later = datetime(2030, 1, 1, tzinfo=timezone.utc)
    functions: Functions = {"shout": lambda text: text.upper(), "later": lambda: later}
    variables, called = program.names()
    assert variables - {"x"} <= values.keys()
    assert {"shout", "later"} & called == {each for each in functions if each in source}
    try:
        found = program.run(values, functions)
    except Exception:
        found = None
    assert found == expected
