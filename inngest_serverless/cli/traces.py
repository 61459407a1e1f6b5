"""Recorded runs, read from files: what was asked, what each step came to, and in which order.

A file holds JSON, one object a line, of either kind:

- A run, as `inngest-serverless runs export` writes it. Read are `run_id`, `function_id`, `status`,
  `event` or `events`, `steps` (`id`, `name`, `op`, `memo`; in the order in which they finished) and
  `open` (`id`, `name`, `op`).
- An exchange between a server and an app. Read are `direction` ("server-to-app" for calls,
  "app-to-server" for checkpoints and fetched state), of `request` `method`, `path`, `query` and
  `body`, of `response` `status`, `headers` and `body`. A run is put together from all of its
  exchanges in a file, whatever lies between them.

Lines are read one at a time: of a file of runs one is in memory, of a file of exchanges its runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from inngest_sdk import wire
from inngest_sdk.errors import BodyInvalidError
from inngest_sdk.events import Event
from inngest_serverless.cli.problems import WrongUse

RAN = ("StepRun", "Step", "StepFailed")
SILENT = ("None", "RunComplete", "SyncRunComplete", "DiscoveryRequest", "DeferAdd", "DeferAbort")


@dataclass(frozen=True)
class TracedStep:
    """A step of a recorded run: its hash, what people call it, its op ("" if that is not known)."""

    hashed: str
    name: str
    op: str


@dataclass(frozen=True)
class Trace:
    """A recorded run. `finished` are its steps in the order in which they finished, `memos` what
    they came to, as JSON text by hash; `open` were found and had not finished."""

    run_id: str
    function_id: str
    status: str
    events: tuple[Event, ...]
    finished: tuple[TracedStep, ...]
    memos: Mapping[str, str]
    open: tuple[TracedStep, ...] = ()


def read_traces(paths: Iterable[Path]) -> Iterator[Trace]:
    """The runs in files, and in the `.jsonl` files of folders and of folders in them.

    Raises WrongUse that names the file, the line, and what is wrong with it.
    """
    for path in paths:
        files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise WrongUse(f"there is no .jsonl file in {path}")
        for file in files:
            yield from _read_file(file)


def _read_file(path: Path) -> Iterator[Trace]:
    recorded: dict[str, _Exchanges] = {}
    for number, row in _rows(path):
        try:
            if "run_id" in row:
                yield _exported(row)
            else:
                _record(recorded, row)
        except _Wrong as error:
            raise WrongUse(f"{path}, line {number}: {error}") from None
    for run in recorded.values():
        try:
            yield run.trace()
        except _Wrong as error:
            raise WrongUse(f"{path}: {error}") from None


class _Wrong(ValueError):
    """What is wrong with a line."""


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _row(path, number, line)
    except OSError as error:
        raise WrongUse(f"cannot read {path}: {error.strerror or error}") from None


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{path}, line {number}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise WrongUse(f"{path}, line {number}: {type(row).__name__}, where an object belongs")
    return row


# ── exported runs ────────────────────────────────────────────────────────────────────────────────


def _exported(row: Mapping[str, Any]) -> Trace:
    steps = [(_step(each, f"steps[{i}]"), each) for i, each in enumerate(_list(row, "steps"))]
    for step, each in steps:
        if "memo" not in each:
            raise _Wrong(f"step {step.name!r} has no memo; is it one of `open`?")
    memos = {step.hashed: each["memo"] for step, each in steps if not is_edited(each["memo"])}
    unfinished = [step for step, _ in steps if step.hashed not in memos]
    found = [_step(each, f"open[{i}]") for i, each in enumerate(_list(row, "open"))]
    return Trace(
        run_id=_text(row, "run_id"),
        function_id=_text(row, "function_id"),
        status=_text(row, "status"),
        events=_events(row),
        finished=tuple(step for step, _ in steps if step.hashed in memos),
        memos={hashed: json.dumps(memo) for hashed, memo in memos.items()},
        open=(*unfinished, *found),
    )


def is_edited(memo: object) -> bool:
    """Whether it is no result but arguments that somebody edited on the server (wire.md A10)."""
    return isinstance(memo, dict) and memo.keys() == {"input"} and isinstance(memo["input"], list)


def _step(value: Any, where: str) -> TracedStep:
    step = _object(value, where)
    hashed = _text(step, "id", f"{where}.id")
    name = step.get("name")
    op = step.get("op")
    return TracedStep(hashed, str(name) if name else hashed, str(op) if op else "")


def _events(row: Mapping[str, Any]) -> tuple[Event, ...]:
    values = _list(row, "events") or [row.get("event")]
    try:
        return wire.parse_events(values, "events")
    except BodyInvalidError as error:
        raise _Wrong(error.message) from None


def _text(row: Mapping[str, Any], key: str, where: str = "") -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{where or key} must be a text that is not empty, not {value!r}")
    return value


def _list(row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key) or []
    if not isinstance(value, list):
        raise _Wrong(f"{key} must be a list, not {type(value).__name__}")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{where} must be an object, not {type(value).__name__}")
    return value


# ── recorded exchanges ───────────────────────────────────────────────────────────────────────────


@dataclass
class _Exchanges:
    """What the exchanges of one run have told so far."""

    run_id: str
    function_id: str = ""
    status: str = "Running"
    events: tuple[Event, ...] = ()
    memos: dict[str, Any] = field(default_factory=dict)
    order: dict[str, None] = field(default_factory=dict)
    ran: dict[str, Any] = field(default_factory=dict)
    found: dict[str, TracedStep] = field(default_factory=dict)

    def called(self, function_id: str, body: Mapping[str, Any]) -> None:
        """The server has called."""
        self.function_id = function_id
        if body.get("events") or not self.events:
            self.events = _events(body)
        self.told(_object(body.get("steps") or {}, "request.body.steps"))
        stack = _object(body["ctx"].get("stack") or {}, "request.body.ctx.stack")
        self.order.update(dict.fromkeys(map(str, _list(stack, "stack"))))

    def told(self, steps: Mapping[str, Any]) -> None:
        """The server has told what steps came to."""
        self.memos.update({key: memo for key, memo in steps.items() if not is_edited(memo)})

    def reported(self, ops: Iterable[Any]) -> None:
        """The app has told of steps."""
        for op in ops:
            kind = _text(_object(op, "an op"), "op")
            if kind == "RunComplete":
                self.status = "Completed"
            if kind in SILENT:
                continue
            hashed = _text(op, "id")
            name = op.get("displayName") or op.get("name") or hashed
            self.found[hashed] = TracedStep(hashed, str(name), kind)
            if kind in RAN:
                failed = kind == "StepFailed"
                key = "error" if failed else "data"
                self.ran[hashed] = {key: op.get(key)}

    def trace(self) -> Trace:
        """The run, as far as it went."""
        if not self.function_id:
            raise _Wrong(f"run {self.run_id} has checkpoints, but no call")
        memos = {**self.ran, **self.memos}
        order = list(dict.fromkeys((*self.order, *self.memos, *self.ran)))
        for hashed in order:
            if hashed not in memos:
                raise _Wrong(f"run {self.run_id}: what step {hashed} came to is not recorded")
        return Trace(
            self.run_id,
            self.function_id,
            self.status,
            self.events,
            tuple(self.found.get(hashed, TracedStep(hashed, hashed, "")) for hashed in order),
            {hashed: json.dumps(memos[hashed]) for hashed in order},
            tuple(step for hashed, step in self.found.items() if hashed not in memos),
        )


def _record(recorded: dict[str, _Exchanges], row: Mapping[str, Any]) -> None:
    direction = row.get("direction")
    if direction not in ("server-to-app", "app-to-server"):
        raise _Wrong(
            "neither a run, which has a run_id, nor an exchange, whose direction is "
            "'server-to-app' or 'app-to-server'"
        )
    request = _object(row.get("request"), "request")
    response = _object(row.get("response"), "response")
    if direction == "app-to-server":
        _record_asked(recorded, str(request.get("path") or ""), request, response)
    elif request.get("method") == "POST" and isinstance(request.get("body"), dict):
        _record_call(recorded, request, response)


def _record_call(
    recorded: dict[str, _Exchanges], request: Mapping[str, Any], response: Mapping[str, Any]
) -> None:
    body = request["body"]
    query = parse_qs(str(request.get("query") or ""))
    if "ctx" not in body or "fnId" not in query:
        return  # no call of a function
    ctx = _object(body["ctx"], "request.body.ctx")
    run_id = _text(ctx, "run_id", "request.body.ctx.run_id")
    run = recorded.setdefault(run_id, _Exchanges(run_id))
    run.called(query["fnId"][0], body)
    status, answer = response.get("status"), response.get("body")
    if status == 206:
        run.reported(answer if isinstance(answer, list) else [answer])
    elif query.get("stepId", [wire.ROOT_STEP])[0] == wire.ROOT_STEP:
        run.status = _status(status, response, ctx)


def _status(status: Any, response: Mapping[str, Any], ctx: Mapping[str, Any]) -> str:
    if status == 200:
        return "Completed"
    headers = _object(response.get("headers") or {}, "response.headers")
    never = str(headers.get("x-inngest-no-retry")).lower() == "true"
    match ctx:
        case {"attempt": int(attempt), "max_attempts": int(attempts)} if attempt + 1 >= attempts:
            return "Failed"
    return "Failed" if never else "Running"


def _record_asked(
    recorded: dict[str, _Exchanges],
    path: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any],
) -> None:
    """A checkpoint, or a fetch of state that was too large to send (wire.md A6, A14)."""
    parts = path.strip("/").split("/")
    body, answer = request.get("body"), response.get("body")
    match parts:
        case ["v1", "checkpoint" | "http", *rest] if rest and isinstance(body, dict):
            run_id = str(body.get("run_id") or rest[0])
            run = recorded.setdefault(run_id, _Exchanges(run_id))
            if response.get("status") == 200:
                run.reported(_list(body, "steps"))
        case ["v0", "runs", run_id, "actions"] if isinstance(answer, dict):
            recorded.setdefault(run_id, _Exchanges(run_id)).told(answer)
        case ["v0", "runs", run_id, "batch"] if isinstance(answer, list):
            recorded.setdefault(run_id, _Exchanges(run_id)).events = _events({"events": answer})
