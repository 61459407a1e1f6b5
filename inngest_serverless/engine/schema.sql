-- The local engine's store. JSON is text; times are Unix milliseconds.

CREATE TABLE IF NOT EXISTS apps (
  app_id      TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  url         TEXT NOT NULL,
  body        TEXT NOT NULL
) WITHOUT ROWID;

-- Kept when archived: their runs go on, and are shown.
CREATE TABLE IF NOT EXISTS functions (
  function_id TEXT PRIMARY KEY,
  app_id      TEXT NOT NULL,
  slug        TEXT NOT NULL,
  archived    INTEGER NOT NULL DEFAULT 0,
  body        TEXT NOT NULL
) WITHOUT ROWID;

-- `place` is the order of arrival. An internal id fixed by a sender's seed may occur twice.
CREATE TABLE IF NOT EXISTS events (
  place       INTEGER PRIMARY KEY,
  internal_id TEXT NOT NULL,
  id          TEXT NOT NULL,
  name        TEXT NOT NULL,
  data        TEXT NOT NULL,
  ts          INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  user        TEXT NOT NULL,
  v           TEXT,
  meta        TEXT
);
CREATE INDEX IF NOT EXISTS events_by_id ON events (internal_id);
CREATE INDEX IF NOT EXISTS events_by_name ON events (name);

-- What made a run of a function, and until when it makes no other; or how far into the future its
-- rate is used up.
CREATE TABLE IF NOT EXISTS claims (
  function_id TEXT NOT NULL,
  key         TEXT NOT NULL,
  until_ms    INTEGER NOT NULL,
  PRIMARY KEY (function_id, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_end ON claims (until_ms);

-- `pending`: the ids of an open parallel section, as a JSON list.
CREATE TABLE IF NOT EXISTS runs (
  place          INTEGER PRIMARY KEY,
  run_id         TEXT NOT NULL UNIQUE,
  function_id    TEXT NOT NULL REFERENCES functions,
  slug           TEXT NOT NULL,
  status         TEXT NOT NULL,
  event_ids      TEXT NOT NULL,
  queued_ms      INTEGER NOT NULL,
  started_ms     INTEGER,
  ended_ms       INTEGER,
  output         TEXT,
  cron           TEXT,
  correlation_id TEXT,
  slots          TEXT NOT NULL,
  version        INTEGER NOT NULL DEFAULT -1,
  planning       INTEGER NOT NULL DEFAULT 0,
  racing         INTEGER NOT NULL DEFAULT 0,
  pending        TEXT NOT NULL DEFAULT '[]',
  step_count     INTEGER NOT NULL DEFAULT 0,
  state_bytes    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS runs_by_function ON runs (slug);
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status);
CREATE INDEX IF NOT EXISTS runs_by_caller ON runs (correlation_id) WHERE correlation_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS run_events (
  internal_id TEXT NOT NULL,
  run_id      TEXT NOT NULL,
  PRIMARY KEY (internal_id, run_id)
) WITHOUT ROWID;

-- Stored values; `place` is the order of completion, which is the stack.
CREATE TABLE IF NOT EXISTS steps (
  run_id  TEXT NOT NULL,
  place   INTEGER NOT NULL,
  step_id TEXT NOT NULL,
  value   TEXT NOT NULL,
  PRIMARY KEY (run_id, place)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS steps_by_id ON steps (run_id, step_id);

-- `lease`: the engine that works on it, or the slot that it waits for. `timer`: needs no call to an app.
CREATE TABLE IF NOT EXISTS jobs (
  place      INTEGER PRIMARY KEY,
  job_id     TEXT NOT NULL UNIQUE,
  kind       TEXT NOT NULL,
  timer      INTEGER NOT NULL,
  run_id     TEXT NOT NULL,
  due_ms     INTEGER NOT NULL,
  step_id    TEXT NOT NULL,
  name       TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  current    INTEGER NOT NULL,
  claimed_ms INTEGER,
  error      TEXT,
  detail     TEXT NOT NULL,
  lease      TEXT
);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (timer, due_ms, place) WHERE lease IS NULL;
CREATE INDEX IF NOT EXISTS jobs_parked ON jobs (lease, due_ms, place) WHERE lease IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_run ON jobs (run_id);

CREATE TABLE IF NOT EXISTS pauses (
  pause_id   TEXT PRIMARY KEY,
  kind       TEXT NOT NULL,
  run_id     TEXT NOT NULL,
  key        TEXT,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  step_id    TEXT NOT NULL,
  name       TEXT NOT NULL,
  expression TEXT,
  bound      TEXT NOT NULL,
  detail     TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pauses_by_key ON pauses (key, kind);
CREATE INDEX IF NOT EXISTS pauses_by_run ON pauses (run_id);

-- What is over. What is under way is read from jobs and pauses.
CREATE TABLE IF NOT EXISTS timeline (
  place      INTEGER PRIMARY KEY,
  run_id     TEXT NOT NULL,
  step_id    TEXT NOT NULL,
  name       TEXT NOT NULL,
  kind       TEXT NOT NULL,
  status     TEXT NOT NULL,
  attempt    INTEGER NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms   INTEGER,
  output     TEXT,
  error      TEXT,
  detail     TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS timeline_by_run ON timeline (run_id);
