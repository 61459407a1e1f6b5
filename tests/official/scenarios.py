"""What is sent to the app, and how the runs of its functions must end, whichever SDK it uses.

Where the official SDK ends otherwise, the scenario says how, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Sent: TypeAlias = Mapping[str, Any]
End: TypeAlias = tuple[str, Any]


def done(output: Any) -> End:
    """The end of a run that returned this."""
    return "Completed", output


@dataclass(frozen=True)
class Saying:
    """Equals any text that has this in it."""

    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.text in other


def failed(name: str, message: str | Saying) -> End:
    """The end of a run that failed; of its output, name and message count."""
    return "Failed", {"name": name, "message": message}


CANCELLED: End = ("Cancelled", {})


@dataclass(frozen=True)
class Ends:
    """How the runs of each function end, oldest first, and in how many calls of the app.

    The calls are those without checkpoints, which make them fewer.
    """

    runs: Mapping[str, Sequence[End]]
    calls: int


@dataclass(frozen=True)
class Official:
    """How the official SDK ends the one run, and the reason."""

    because: str
    end: End
    calls: int


@dataclass(frozen=True)
class Scenario:
    """Groups of events, each sent when all is quiet after the one before; and the ends."""

    name: str
    send: Sequence[Sequence[Sent]]
    ends: Ends
    official: Official | None = None

    @property
    def official_ends(self) -> Ends:
        """How the official SDK ends."""
        if self.official is None:
            return self.ends
        return Ends({self.name: [self.official.end]}, self.official.calls)


def simple(name: str, end: End, *, calls: int, official: Official | None = None) -> Scenario:
    """One event of the function's own name, one run."""
    return Scenario(name, [[start(name)]], Ends({name: [end]}, calls), official)


def start(name: str, id: str = "", **data: Any) -> Sent:
    """An event."""
    return {"name": f"shop/{name}", "data": data, "id": id}


EVENTS = [
    Scenario(
        "no-steps",
        [[start("no-steps", n=1)]],
        Ends(
            {
                "no-steps": [
                    done({"name": "shop/no-steps", "data": {"n": 1}, "events": 1, "attempt": 0})
                ]
            },
            calls=1,
        ),
    ),
    Scenario(
        "multiple-triggers",
        [[start("first"), start("second", n=1), start("second", n=2)]],
        Ends(
            {"multiple-triggers": [done(["shop/first", {}]), done(["shop/second", {"n": 2}])]},
            calls=2,
        ),
    ),
    Scenario(
        "wildcard",
        [[{"name": "wild/a.b"}, {"name": "wilder/a"}]],
        Ends({"wildcard": [done("wild/a.b")]}, calls=1),
    ),
    Scenario(
        "cron",
        [],
        Ends(
            {"cron": [done(["inngest/scheduled.timer", "TZ=Europe/Paris 0 9 * * *"])]},
            calls=1,
        ),
    ),
    Scenario(
        "event-idempotency",
        [
            [start("idempotent", id="one", n=1)],
            [start("idempotent", id="one", n=2), start("idempotent", id="two", n=3)],
        ],
        Ends({"idempotent": [done(1), done(3)]}, calls=2),
    ),
    Scenario(
        "send-from-step",
        [[start("send")]],
        Ends({"send": [done(3)], "sent": [done(1), done(2), done(3)]}, calls=6),
    ),
]

STEPS = [
    simple("two-steps", done({"one": 1, "two": [1, {"x": None}]}), calls=3),
    simple("sync-steps", done([1, "a", "b"]), calls=6),
    simple("run-sleep-run", done(["before", "after"]), calls=4),
    simple("step-id-reuse", done([0, 1, 2]), calls=4),
    simple(
        "step-outputs",
        done(
            [
                ["dict", {"a": {"b": [1]}}],
                ["list", [1, "zwei", None]],
                ["list", [1, 2]],
                ["str", "ü\u2028😀"],
                ["float", -1.5e-7],
                ["bool", True],
                ["NoneType", None],
                ["dict", {"data": 1, "error": None}],
            ]
        ),
        calls=9,
    ),
    simple("big-state", done(10_000_000), calls=11),
]

NEVER = failed("NonRetriableError", "never")
UNSERIALIZABLE = failed("OutputUnserializableError", Saying("serializable"))

ERRORS = [
    simple("retry-step", done([1, "next"]), calls=4),
    simple("retry-function", done({"step": 0, "function": 1}), calls=3),
    simple("retry-after", done(1), calls=2),
    simple("max-retries", failed("RuntimeError", "attempt 2"), calls=3),
    simple("non-retriable", NEVER, calls=1),
    simple(
        "non-retriable-step",
        done({"name": "NonRetriableError", "message": "never"}),
        calls=2,
        official=Official("it fails the function, not the step (wire.md P1)", NEVER, calls=1),
    ),
    simple("catch-step-error", done({"name": "ValueError", "message": "boom"}), calls=4),
    simple("uncaught-step-error", failed("ValueError", "boom"), calls=3),
    Scenario(
        "on-failure",
        [[start("on-failure", n=1)]],
        Ends(
            {
                "on-failure": [failed("RuntimeError", "please handle")],
                "on-failure-failure": [
                    done(["inngest/function.failed", "shop-on-failure", "please handle", {"n": 1}])
                ],
            },
            calls=2,
        ),
    ),
    simple(
        "unserializable",
        UNSERIALIZABLE,
        calls=1,
        official=Official("it lacks the header that says not to retry", UNSERIALIZABLE, calls=3),
    ),
    simple(
        "unserializable-step",
        UNSERIALIZABLE,
        calls=2,
        official=Official("it fails the function, not the step", UNSERIALIZABLE, calls=3),
    ),
]

PARALLEL = [
    simple("parallel", done(["a", "b", "c"]), calls=5),
    simple("parallel-wait", done(["aa", "bb"]), calls=7),
    simple("parallel-race", done(["aa", "bb"]), calls=9),
    Scenario(
        "parallel-kinds",
        [[start("parallel-kinds")]],
        Ends(
            {
                "parallel-kinds": [done(["ran", "slept", None, ["a", "b", "c"]])],
                "parallel": [done(["a", "b", "c"])],
            },
            calls=9,
        ),
    ),
    simple("parallel-error", done({"name": "ValueError", "message": "boom"}), calls=5),
]

WAITING = [
    Scenario(
        "wait-match",
        [[start("wait", k=1)], [start("signal", k=2), start("signal", k=1)]],
        Ends({"wait": [done(["shop/signal", {"k": 1}])]}, calls=2),
    ),
    Scenario(
        "wait-no-match-expression",
        [[start("wait", k=1)], [start("signal", k=2)]],
        Ends({"wait": [done(None)]}, calls=2),
    ),
    Scenario("wait-timeout", [[start("wait", k=1)]], Ends({"wait": [done(None)]}, calls=2)),
    Scenario(
        "invoke",
        [[start("invoke")]],
        Ends(
            {
                "invoke": [done([{"got": 1}, {"got": 2}])],
                "child": [done({"got": 1}), done({"got": 2})],
            },
            calls=7,
        ),
    ),
    Scenario(
        "invoke-child-error",
        [[start("invoke-child-error")]],
        Ends(
            {
                "invoke-child-error": [done({"name": "RuntimeError", "message": "child failed"})],
                "failing-child": [failed("RuntimeError", "child failed")],
            },
            calls=4,
        ),
    ),
    simple(
        "invoke-unknown",
        done({"name": "Error", "message": "could not find function with ID: shop-nothing"}),
        calls=2,
    ),
    Scenario(
        "cancel-by-event",
        [[start("cancel", n=1), start("cancel", n=2)], [start("cancelled", n=1)]],
        Ends({"cancel": [CANCELLED, done(2)], "on-cancel": [done("shop-cancel")]}, calls=4),
    ),
]

FLOW = [
    Scenario(
        "batch-size",
        [[start("batch", n=n) for n in (1, 2, 3, 4)]],
        Ends({"batch": [done([1, 2, 3]), done([4])]}, calls=2),
    ),
    Scenario(
        "debounce",
        [[start("debounce", n=1), start("debounce", n=2)], [start("debounce", n=3)]],
        Ends({"debounce": [done(3)]}, calls=1),
    ),
    Scenario(
        "rate-limit",
        [[start("rate-limit", user=user, n=n) for n, user in enumerate("aab")]],
        Ends({"rate-limit": [done(0), done(2)]}, calls=2),
    ),
    Scenario(
        "every-option",
        [[start("every-option", user="a", n=n) for n in (1, 2, 2)]],
        Ends({"every-option": [done(1), done(2)]}, calls=4),
    ),
]

SCENARIOS = EVENTS + STEPS + ERRORS + PARALLEL + WAITING + FLOW
