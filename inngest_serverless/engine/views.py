"""What the engine's values look like to those who read them: JSON rows and a plain page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from html import escape

from inngest_serverless.engine.model import (
    JSON,
    App,
    Event,
    FunctionConfig,
    RunRow,
    TimelineRow,
    Trace,
    TracedStep,
)

_NOBODY = "00000000-0000-4000-a000-000000000000"


def iso(ms: int | None) -> str | None:
    """Unix milliseconds as RFC 3339."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms / 1_000, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_row(event: Event) -> dict[str, JSON]:
    """A row of `/v1/events`."""
    row: dict[str, JSON] = {
        "internal_id": event.internal_id,
        "account_id": _NOBODY,
        "environment_id": _NOBODY,
        "source": "",
        "source_id": None,
        "received_at": iso(event.received_ms),
        **event.to_json(),
    }
    if not event.user:
        del row["user"]
    return row


def batch_row(event: Event) -> dict[str, JSON]:
    """An event as `/v0/runs/{id}/batch` gives it, without the user unless it has one."""
    row = event.to_json()
    if not event.user:
        del row["user"]
    return row


def run_row(run: RunRow) -> dict[str, JSON]:
    """A row of `/v1/runs`."""
    output = {} if run.status == "Cancelled" and run.output is None else run.output
    row: dict[str, JSON] = {
        "run_id": run.run_id,
        "run_started_at": iso(run.queued_ms if run.started_ms is None else run.started_ms),
        "function_id": run.function_id,
        "function_version": 1,
        "environment_id": _NOBODY,
        "event_id": run.event_ids[0] if run.event_ids else None,
        "status": run.status,
        "ended_at": iso(run.ended_ms),
        "output": output,
    }
    if run.cron is not None:
        row["cron"] = run.cron
    return row


def function_row(function: FunctionConfig) -> dict[str, JSON]:
    """A row of `/v1/apps/{app}/functions`."""
    return {
        "id": function.function_id,
        "slug": function.slug,
        "name": function.name,
        "app_id": function.app_id,
        "url": function.url,
        "retries": function.retries,
        "triggers": function.config.get("triggers") or [],
    }


def dev_function(function: FunctionConfig) -> dict[str, JSON]:
    """A function as `GET /dev` lists it."""
    step = {
        "id": "step",
        "name": function.name,
        "uri": function.url,
        "retries": function.retries,
    }
    return {
        "id": function.function_id,
        "fv": 1,
        "name": function.name,
        "slug": function.slug,
        "triggers": function.config.get("triggers") or [],
        "steps": [step],
    }


def dev_app(app: App) -> dict[str, JSON]:
    """An app as `GET /dev` lists it."""
    return {"id": app.app_id, "name": app.name, "url": app.url, "sdk": app.sdk, "error": app.error}


def api_run(run: RunRow) -> dict[str, JSON]:
    """A run of `/api/runs`: the fields of RunRow."""
    return asdict(run)


def api_run_detail(
    run: RunRow,
    function: FunctionConfig | None,
    events: Iterable[Event],
    timeline: Iterable[TimelineRow],
) -> dict[str, JSON]:
    """The whole of `/api/runs/{id}`; the route describes it."""
    about = None
    if function is not None:
        about = {"slug": function.slug, "name": function.name, "app": function.app_name}
    return {
        "run": api_run(run),
        "function": about,
        "events": [event_row(event) for event in events],
        "timeline": [asdict(row) for row in timeline],
    }


def trace(trace: Trace) -> dict[str, JSON]:
    """The whole of `/v1/runs/{id}/trace`; the route describes it."""
    events = [event.to_json() for event in trace.events]
    return {
        "run_id": trace.run.run_id,
        "function_id": trace.run.slug,
        "status": trace.run.status,
        "event": events[0] if events else None,
        "events": events,
        "steps": [{**_traced(step), "memo": step.memo} for step in trace.steps],
        "open": [_traced(step) for step in trace.open],
        "output": trace.run.output,
    }


def _traced(step: TracedStep) -> dict[str, JSON]:
    return {"id": step.step_id, "name": step.name, "op": step.kind}


# ── the page at / ────────────────────────────────────────────────────────────────────────────────


def page(
    apps: Sequence[App],
    functions: Sequence[FunctionConfig],
    runs: Sequence[RunRow],
    unsupported: Mapping[str, Sequence[str]],
) -> str:
    """A plain page: what this is, and what it knows. `unsupported` maps a slug to its options."""
    body = "".join(
        (
            "<h1>inngest-serverless</h1>",
            "<p>A local engine for durable functions. Send events to <code>POST /e/dev</code>.</p>",
            _table("Apps", ("name", "url", "sdk", "state"), map(_app_cells, apps)),
            _table(
                "Functions",
                ("id", "triggers", "retries", "not applied here"),
                (_function_cells(each, unsupported.get(each.slug, ())) for each in functions),
            ),
            _table("Latest runs", ("run", "function", "status", "queued"), map(_run_cells, runs)),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>inngest-serverless'
        f"</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


_STYLE = (
    "body{font:15px system-ui;margin:2rem}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.2rem 1rem .2rem 0}"
)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return f"<h2>{title}</h2><p>none yet</p>"
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _app_cells(app: App) -> tuple[str, ...]:
    return app.name, app.url, app.sdk, app.error or "synced"


def _function_cells(function: FunctionConfig, unsupported: Sequence[str]) -> tuple[str, ...]:
    triggers = (
        str(getattr(each, "event", "") or getattr(each, "cron", "")) for each in function.triggers
    )
    return function.slug, ", ".join(triggers), str(function.retries), ", ".join(unsupported)


def _run_cells(run: RunRow) -> tuple[str, ...]:
    return run.run_id, run.slug, run.status, iso(run.queued_ms) or ""
