"""The engine's HTTP surface (engine.md 1): thin routes over the parsers and the Engine.

Every error a client can cause is a JSON body with its status; nothing here shows a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from typing import get_args
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inngest_serverless.engine import jsontext, views
from inngest_serverless.engine.checkpoint import read_checkpoint
from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.ingest import (
    EventInvalid,
    IncomingEvent,
    internal_ids,
    read_event,
    read_events,
)
from inngest_serverless.engine.model import JSON, Event, FunctionConfig, RunRow, RunStatus
from inngest_serverless.engine.realtime_routes import Realtime
from inngest_serverless.engine.register import (
    RegistrationInvalid,
    normal_url,
    read_registration,
)
from inngest_serverless.engine.sync import forget_failures
from inngest_serverless.engine.web import (
    body_of,
    canonical_answer,
    http_error,
    json_answer,
    limit_of,
    moment_of,
    own_error,
    refuse,
    ulid,
)

_STATUSES: tuple[str, ...] = get_args(RunStatus)
_ENDED = frozenset({"Completed", "Failed", "Cancelled"})


def create_api(
    engine: Engine,
    *,
    clock: Clock | None = None,
    server_kind: str = "dev",
    start_options: Mapping[str, JSON] | None = None,
    on_register: Callable[[str], None] | None = None,
    realtime: Realtime | None = None,
) -> Starlette:
    """Make the ASGI app. `on_register` hears the URL of each app that registers.

    `realtime` is given by whoever ends its streams; a server cannot stop while one is open.
    """
    clock = clock or SystemClock()
    api = _Api(engine, clock, server_kind, dict(start_options or {}), on_register)
    realtime = realtime or Realtime(clock)
    return Starlette(
        routes=[*api.routes(), *realtime.routes()],
        middleware=[
            Middleware(_ServerKind, kind=server_kind),
            Middleware(
                CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
            ),
        ],
        exception_handlers={HTTPException: http_error, Exception: own_error},
    )


class _Api:
    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        server_kind: str,
        start_options: dict[str, JSON],
        on_register: Callable[[str], None] | None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._kind = server_kind
        self._start_options = start_options
        self._on_register = on_register

    def routes(self) -> list[Route]:
        """Every route; a path with another method is 405, another path 404."""
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/dev", self.dev, methods=["GET"]),
            Route("/e/{key}", self.ingest, methods=["POST"]),
            Route("/invoke/{slug:path}", self.invoke, methods=["POST"]),
            Route("/fn/register", self.register, methods=["POST"]),
            Route("/fn/remove", self.remove, methods=["DELETE"]),
            Route("/v0/runs/{run_id}/batch", self.batch, methods=["GET"]),
            Route("/v0/runs/{run_id}/actions", self.actions, methods=["GET"]),
            Route("/v0/runs/{run_id}", self.cancel_v0, methods=["DELETE"]),
            Route("/v1/events", self.events, methods=["GET"]),
            Route("/v1/events/{event_id}", self.event, methods=["GET"]),
            Route("/v1/events/{event_id}/runs", self.event_runs, methods=["GET"]),
            Route("/v1/runs/{run_id}", self.run, methods=["GET"]),
            Route("/v1/runs/{run_id}", self.cancel_v1, methods=["DELETE"]),
            Route("/v1/runs/{run_id}/trace", self.trace, methods=["GET"]),
            Route("/v1/apps/{app:path}/functions", self.functions, methods=["GET"]),
            Route("/v1/signals", self.signal, methods=["POST"]),
            Route("/v1/checkpoint/{run_id}/async", self.checkpoint, methods=["POST"]),
            Route("/v1/http/runs/{run_id}/async", self.checkpoint, methods=["POST"]),
            Route("/api/runs", self.api_runs, methods=["GET"]),
            Route("/api/runs/{run_id}", self.api_run, methods=["GET"]),
        ]

    # ── what this is ─────────────────────────────────────────────────────────────────────────────

    async def index(self, request: Request) -> Response:
        engine, functions = self._engine, self._engine.functions()
        unsupported = {each.slug: engine.unsupported(each) for each in functions}
        page = views.page(engine.apps(), functions, engine.runs(limit=50), unsupported)
        return HTMLResponse(page)

    async def health(self, request: Request) -> Response:
        return json_answer({"status": 200, "message": "OK"})

    async def dev(self, request: Request) -> Response:
        """What SDKs probe to find a dev server, and tools poll until functions appear (1.11)."""
        return json_answer(
            {
                "version": _version(),
                "authed": False,
                "startOpts": self._start_options,
                "functions": [views.dev_function(each) for each in self._engine.functions()],
                "handlers": [views.dev_app(each) for each in self._engine.apps()],
                "isSingleNodeService": True,
                "isMissingSigningKey": False,
                "isMissingEventKeys": False,
                "features": {},
            }
        )

    # ── events in ────────────────────────────────────────────────────────────────────────────────

    async def ingest(self, request: Request) -> Response:
        body = await body_of(request)
        content_type = request.headers.get("content-type", "")
        found = read_events(body, content_type, dict(request.query_params))
        seeds = internal_ids(request.headers.get("x-inngest-event-id-seed"), len(found.events))
        pairs = zip(found.events, seeds, strict=True)
        events = [self._new_event(event, seed) for event, seed in pairs]
        if events:
            self._engine.ingest(events)
        ids: list[str] = [event.internal_id for event in events]
        if found.error is not None:
            return json_answer({"ids": ids or [""], "status": 400, "error": found.error}, 400)
        return json_answer({"ids": ids, "status": 200})

    async def invoke(self, request: Request) -> Response:
        """Start one function directly; the body is an event, or empty."""
        function = self._function(request.path_params["slug"])
        body = await body_of(request)
        try:
            item = jsontext.read(body) if body.strip() else {}
            event = read_event(item, whole=len(body), reserved=False)
        except (ValueError, EventInvalid) as error:
            refuse(400, f"cannot invoke {function.slug!r}: {error}")
        made = self._new_event(event, None)
        self._engine.invoke(function.slug, made)
        return json_answer({"id": made.internal_id, "status": 200})

    def _new_event(self, event: IncomingEvent, internal_id: str | None) -> Event:
        return self._engine.new_event(
            name=event.name,
            data=event.data,
            id=event.id,
            ts=event.ts,
            user=event.user,
            v=event.v,
            meta=event.meta,
            internal_id=internal_id,
        )

    # ── apps in and out ──────────────────────────────────────────────────────────────────────────

    async def register(self, request: Request) -> Response:
        body = await body_of(request)
        kinds = ("dev",) if self._kind == "dev" else (self._kind, "dev")
        try:
            found = read_registration(
                body, request.headers, now_ms=self._clock.now_ms(), server_kinds=kinds
            )
        except RegistrationInvalid as error:
            self._note_refusal(body, str(error))
            if error.is_kind_mismatch:
                return json_answer({"error": str(error)}, 400)
            refuse(400, str(error))
        forget_failures(self._engine, found.app.url)
        modified = self._engine.register(found.app, found.functions)
        if self._on_register is not None:
            self._on_register(found.app.url)
        answer = {"ok": True, "modified": modified, "app_id": found.app.app_id}
        return json_answer({**answer, "sync_id": str(uuid4())})

    def _note_refusal(self, body: bytes, error: str) -> None:
        """Keep the refusal with the app, so far as the body says which one it is."""
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            url = jsontext.read(body)["url"]
            if isinstance(url, str) and url.startswith(("http://", "https://")):
                self._engine.note_sync_error(normal_url(url), error)

    async def remove(self, request: Request) -> Response:
        url = request.query_params.get("url", "")
        try:
            url = normal_url(url)
        except ValueError:
            refuse(400, f"url is {url!r}; it must be the URL of an app")
        if url not in {app.url for app in self._engine.apps()}:
            refuse(404, f"no app has the URL {url!r}")
        self._engine.remove_app(url)
        return json_answer({"ok": True})

    async def functions(self, request: Request) -> Response:
        wanted = request.path_params["app"]
        for app in self._engine.apps():
            if wanted in (app.name, app.app_id):
                mine = (f for f in self._engine.functions() if f.app_id == app.app_id)
                return json_answer([views.function_row(function) for function in mine])
        names = ", ".join(app.name for app in self._engine.apps()) or "none"
        refuse(404, f"no app {wanted!r}; registered: {names}")

    # ── state, for an app during a call (1.6) ────────────────────────────────────────────────────

    async def batch(self, request: Request) -> Response:
        run = self._open_run(request)
        events = self._engine.run_events(run.run_id)
        return canonical_answer([views.batch_row(each) for each in events])

    async def actions(self, request: Request) -> Response:
        return canonical_answer(self._engine.run_steps(self._open_run(request).run_id))

    async def cancel_v0(self, request: Request) -> Response:
        self._engine.cancel(self._run(request).run_id)
        return Response(status_code=204)

    # ── reading back (1.7) ───────────────────────────────────────────────────────────────────────

    async def events(self, request: Request) -> Response:
        query = request.query_params
        found = self._engine.events(
            name=query.get("name") or None,
            limit=limit_of(request, default=20),
            before=ulid(query["cursor"], "cursor") if query.get("cursor") else None,
            received_after_ms=moment_of(request, "received_after"),
            received_before_ms=moment_of(request, "received_before"),
        )
        return self._enveloped([views.event_row(event) for event in found])

    async def event(self, request: Request) -> Response:
        return self._enveloped(views.event_row(self._event(request)))

    async def event_runs(self, request: Request) -> Response:
        event = self._event(request)
        runs = self._engine.runs_of_event(event.internal_id)
        return self._enveloped([views.run_row(run) for run in runs])

    async def run(self, request: Request) -> Response:
        return self._enveloped(views.run_row(self._run(request)))

    async def trace(self, request: Request) -> Response:
        """What the run was told, to be told again: without an envelope, values as apps get them.

        {"run_id", "function_id": the slug, "status", "event", "events", "output", "steps", "open"}.
        A step is {"id": hash, "name", "op", "memo"}, in the order in which they finished; those
        under `open`, found but not finished, have no memo. `output` is null until the run ended.
        """
        trace = self._engine.trace(self._run(request).run_id)
        assert trace is not None
        return canonical_answer(views.trace(trace))

    async def cancel_v1(self, request: Request) -> Response:
        self._engine.cancel(self._run(request).run_id)  # ended already is fine too
        return Response(status_code=200)

    async def signal(self, request: Request) -> Response:
        try:
            fields = jsontext.read(await body_of(request))
        except ValueError as error:
            refuse(400, f"the body is not JSON: {error}")
        name = fields.get("signal") if isinstance(fields, dict) else None
        if not isinstance(name, str) or not name:
            refuse(400, 'the body must be {"signal": <its name>, "data": ...}')
        run_id = self._engine.signal(name, fields.get("data"))
        if run_id is None:
            refuse(404, f"no run waits for the signal {name!r}")
        return self._enveloped({"run_id": run_id})

    # ── steps in the middle of a call (1.8) ──────────────────────────────────────────────────────

    async def checkpoint(self, request: Request) -> Response:
        """Save steps that a call in flight has run.

        409 tells a call that is over to stop, or one whose job was given out anew since: the
        engine believed it dead. (The real server forgives the first 10 s, as its queue is not one
        with its state; ours is.)
        """
        run_id = ulid(request.path_params["run_id"], "run id")
        try:
            found = read_checkpoint(await body_of(request))
            if self._engine.run(run_id) is None:
                refuse(400, f"no run {run_id}")
            saved = self._engine.checkpoint(
                run_id, found.job_id, found.ops, generation=found.generation
            )
        except ValueError as error:
            refuse(400, f"a checkpoint of run {run_id}: {error}")
        if not saved:
            refuse(409, f"the call of run {run_id} that this checkpoint belongs to is over")
        return Response(status_code=200)

    # ── for our own command line ─────────────────────────────────────────────────────────────────

    async def api_runs(self, request: Request) -> Response:
        """`GET /api/runs?limit=&cursor=&status=&function=` → {"runs": [<run>...]}, newest first.

        A run has the fields of RunRow: run_id, function_id, slug, status, event_ids, queued_ms,
        started_ms, ended_ms, output, cron. `cursor` is the run_id of the last run seen.
        """
        query = request.query_params
        status = query.get("status") or None
        if status is not None and status not in _STATUSES:
            refuse(400, f"status is {status!r}; it is one of {', '.join(_STATUSES)}")
        slug = query.get("function") or None
        runs = self._engine.runs(
            limit=limit_of(request, default=50),
            before=ulid(query["cursor"], "cursor") if query.get("cursor") else None,
            status=next((each for each in get_args(RunStatus) if each == status), None),
            slug=None if slug is None else self._function(slug).slug,
        )
        return json_answer({"runs": [views.api_run(run) for run in runs]})

    async def api_run(self, request: Request) -> Response:
        """`GET /api/runs/{id}` → {"run", "function", "events", "timeline"}.

        run: as in /api/runs. function: {"slug", "name", "app"}, or null if it is gone.
        events: what started the run, rows of /v1/events. timeline: rows with the fields of
        TimelineRow: step_id, name, kind, status, attempt, started_ms, ended_ms, output, error,
        detail; times in Unix milliseconds.
        """
        run, engine = self._run(request), self._engine
        function = engine.function(run.function_id)
        events, timeline = engine.run_events(run.run_id), engine.timeline(run.run_id)
        return json_answer(views.api_run_detail(run, function, events, timeline))

    # ── finding what a path names ────────────────────────────────────────────────────────────────

    def _run(self, request: Request) -> RunRow:
        run_id = ulid(request.path_params["run_id"], "run id")
        run = self._engine.run(run_id)
        return run if run is not None else refuse(404, f"no run {run_id}")

    def _open_run(self, request: Request) -> RunRow:
        run_id = ulid(request.path_params["run_id"], "run id")
        run = self._engine.run(run_id)
        if run is None or run.status in _ENDED:
            state = "is unknown" if run is None else f"has ended ({run.status})"
            refuse(410, f"run {run_id} {state}")
        return run

    def _event(self, request: Request) -> Event:
        event_id = ulid(request.path_params["event_id"], "event id")
        event = self._engine.event(event_id)
        return event if event is not None else refuse(404, f"no event {event_id}")

    def _function(self, slug: str) -> FunctionConfig:
        function = self._engine.function(slug)
        if function is None:
            slugs = ", ".join(each.slug for each in self._engine.functions()) or "none"
            refuse(404, f"no function {slug!r}; registered: {slugs}")
        return function

    def _enveloped(self, data: JSON) -> Response:
        fetched_at = views.iso(self._clock.now_ms())
        return json_answer({"data": data, "metadata": {"fetched_at": fetched_at}})


def _version() -> str:
    try:
        return metadata.version("inngest-serverless")
    except metadata.PackageNotFoundError:
        return "0"


class _ServerKind:
    """Says on every answer what kind of server this is; SDKs look."""

    def __init__(self, app: ASGIApp, kind: str) -> None:
        self._app = app
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_kind(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Inngest-Server-Kind"] = self._kind
            await send(message)

        await self._app(scope, receive, send_with_kind)
