-- Every query of the store. `-- name: x` names what follows; the next line says what it is for.

-- name: put_app
-- Store an app, or what is new about it.
INSERT INTO apps (app_id, name, url, body) VALUES (:app_id, :name, :url, :body)
ON CONFLICT (app_id) DO UPDATE SET name = excluded.name, url = excluded.url, body = excluded.body;

-- name: apps
-- All apps, by name.
SELECT body FROM apps ORDER BY name;

-- name: drop_app
-- Forget an app.
DELETE FROM apps WHERE app_id = :app_id;

-- name: put_function
-- Store a function, or what is new about it; it is not archived any more.
INSERT INTO functions (function_id, app_id, slug, archived, body)
VALUES (:function_id, :app_id, :slug, 0, :body)
ON CONFLICT (function_id) DO UPDATE SET
  app_id = excluded.app_id, slug = excluded.slug, archived = 0, body = excluded.body;

-- name: archive_function
-- Take a function out of service.
UPDATE functions SET archived = 1 WHERE function_id = :function_id;

-- name: functions
-- All functions, the archived ones too.
SELECT archived, body FROM functions ORDER BY slug;

-- name: put_event
-- Store an event, in the order of arrival.
INSERT INTO events (internal_id, id, name, data, ts, received_ms, user, v, meta)
VALUES (:internal_id, :id, :name, :data, :ts, :received_ms, :user, :v, :meta);

-- name: event
-- One event by internal id.
SELECT * FROM events WHERE internal_id = :internal_id LIMIT 1;

-- name: events
-- Events, newest first, filtered by whatever is not null.
SELECT * FROM events
WHERE (:before IS NULL
       OR place < (SELECT min(place) FROM events WHERE internal_id = :before))
  AND (:after_ms IS NULL OR received_ms >= :after_ms)
  AND (:before_ms IS NULL OR received_ms <= :before_ms)
  AND (:internal OR name NOT LIKE 'inngest/%')
ORDER BY place DESC LIMIT :limit;

-- name: events_named
-- The same, of one name.
SELECT * FROM events
WHERE name = :name
  AND (:before IS NULL
       OR place < (SELECT min(place) FROM events WHERE internal_id = :before))
  AND (:after_ms IS NULL OR received_ms >= :after_ms)
  AND (:before_ms IS NULL OR received_ms <= :before_ms)
ORDER BY place DESC LIMIT :limit;

-- name: claim_key
-- Say that this key makes a run of the function; changes nothing if an older claim still holds.
INSERT INTO claims (function_id, key, until_ms) VALUES (:function_id, :key, :until_ms)
ON CONFLICT (function_id, key) DO UPDATE SET until_ms = excluded.until_ms
WHERE claims.until_ms <= :now_ms;

-- name: claim
-- Until when a key is claimed.
SELECT until_ms FROM claims WHERE function_id = :function_id AND key = :key;

-- name: put_claim
-- Claim a key, whoever has it.
INSERT OR REPLACE INTO claims (function_id, key, until_ms)
VALUES (:function_id, :key, :until_ms);

-- name: drop_claims
-- Forget claims that have run out.
DELETE FROM claims WHERE until_ms <= :now_ms;

-- name: put_run
-- Store a new run.
INSERT INTO runs (run_id, function_id, slug, status, event_ids, queued_ms, cron, correlation_id,
                  slots)
VALUES (:run_id, :function_id, :slug, 'Scheduled', :event_ids, :queued_ms, :cron, :correlation_id,
        :slots);

-- name: put_run_event
-- Note that an event started a run.
INSERT OR IGNORE INTO run_events (internal_id, run_id) VALUES (:internal_id, :run_id);

-- name: run
-- One run.
SELECT * FROM runs WHERE run_id = :run_id;

-- name: start_run
-- The first call of a run is about to be made.
UPDATE runs SET status = 'Running', started_ms = :now_ms
WHERE run_id = :run_id AND status = 'Scheduled';

-- name: progress_run
-- Keep where a run stands in its parallel sections.
UPDATE runs SET version = :version, planning = :planning, pending = :pending, racing = :racing
WHERE run_id = :run_id;

-- name: grow_run
-- Count a step.
UPDATE runs SET step_count = step_count + 1, state_bytes = state_bytes + :size
WHERE run_id = :run_id;

-- name: end_run
-- Status, output and end together.
UPDATE runs SET status = :status, output = :output, ended_ms = :ended_ms, pending = '[]'
WHERE run_id = :run_id;

-- name: runs
-- Runs, newest first, filtered by whatever is not null.
SELECT * FROM runs
WHERE (:before IS NULL OR place < (SELECT place FROM runs WHERE run_id = :before))
  AND (:status IS NULL OR status = :status)
  AND (:slug IS NULL OR slug = :slug)
ORDER BY place DESC LIMIT :limit;

-- name: function_name
-- What the user called the function of a run.
SELECT json_extract(functions.body, '$.name') AS name
FROM runs JOIN functions USING (function_id) WHERE run_id = :run_id;

-- name: runs_of_event
-- The runs that an event started, in order.
SELECT runs.* FROM run_events JOIN runs USING (run_id)
WHERE run_events.internal_id = :internal_id ORDER BY runs.place;

-- name: run_of_caller
-- The run that an invocation started.
SELECT run_id FROM runs WHERE correlation_id = :correlation_id;

-- name: put_step
-- Save a step's value as the last of the stack.
INSERT OR IGNORE INTO steps (run_id, place, step_id, value)
SELECT :run_id, step_count + 1, :step_id, :value FROM runs WHERE run_id = :run_id;

-- name: steps
-- A run's values in the order of completion.
SELECT step_id, value FROM steps WHERE run_id = :run_id ORDER BY place;

-- name: stored_ids
-- Which of these steps are saved.
SELECT step_id FROM steps
WHERE run_id = :run_id AND step_id IN (SELECT value FROM json_each(:ids));

-- name: waiting_ids
-- Which of these steps are under way.
SELECT step_id FROM jobs
WHERE run_id = :run_id AND step_id IN (SELECT value FROM json_each(:ids));

-- name: put_job
-- Queue work, once.
INSERT OR IGNORE INTO jobs (job_id, kind, timer, run_id, due_ms, step_id, name, created_ms,
                            attempt, generation, current, claimed_ms, error, detail, lease)
VALUES (:job_id, :kind, :timer, :run_id, :due_ms, :step_id, :name, :created_ms,
        :attempt, :generation, :current, :claimed_ms, :error, :detail, NULL);

-- name: retry_job
-- Queue the same work again, behind what waits already.
INSERT OR REPLACE INTO jobs (job_id, kind, timer, run_id, due_ms, step_id, name, created_ms,
                             attempt, generation, current, claimed_ms, error, detail, lease)
VALUES (:job_id, :kind, :timer, :run_id, :due_ms, :step_id, :name, :created_ms,
        :attempt, :generation, :current, :claimed_ms, :error, :detail, NULL);

-- name: reset_attempts
-- A step was saved in the middle of a call: what fails next starts its attempts afresh.
UPDATE jobs SET attempt = 0, detail = json_remove(detail, '$.broken') WHERE job_id = :job_id;

-- name: drop_job
-- Work that needs doing no more.
DELETE FROM jobs WHERE job_id = :job_id;

-- name: drop_jobs
-- All work of a run.
DELETE FROM jobs WHERE run_id = :run_id;

-- name: drop_crons
-- All schedules of a function.
DELETE FROM jobs WHERE kind = 'cron' AND run_id = :function_id;

-- name: job
-- One job.
SELECT * FROM jobs WHERE job_id = :job_id;

-- name: jobs_of_run
-- The open work of a run, in order.
SELECT * FROM jobs WHERE run_id = :run_id ORDER BY place;

-- name: due
-- Work that is due and nobody's, first come first.
SELECT * FROM jobs
WHERE lease IS NULL AND timer = :timer AND due_ms <= :now_ms
ORDER BY due_ms, place LIMIT :limit;

-- name: next_due
-- When the next work falls due.
SELECT min(due_ms) AS due_ms FROM jobs WHERE lease IS NULL AND timer = :timer;

-- name: lease_job
-- Take work on.
UPDATE jobs SET lease = :lease, claimed_ms = :now_ms WHERE job_id = :job_id;

-- name: park_job
-- Let work wait for a slot.
UPDATE jobs SET lease = :slot WHERE job_id = :job_id;

-- name: unpark_job
-- Slots are free: whoever waited longest is due again.
UPDATE jobs SET lease = NULL WHERE job_id IN (
  SELECT job_id FROM jobs WHERE lease = :slot ORDER BY due_ms, place LIMIT :limit
);

-- name: release_all
-- An engine that is gone works on nothing.
UPDATE jobs SET lease = NULL, claimed_ms = NULL WHERE lease IS NOT NULL;

-- name: has_open_work
-- Whether anything will carry this run on.
SELECT EXISTS (SELECT 1 FROM jobs WHERE run_id = :run_id AND kind <> 'deadline') AS open;

-- name: put_pause
-- Listen, once.
INSERT OR IGNORE INTO pauses (pause_id, kind, run_id, key, created_ms, expires_ms, step_id, name,
                              expression, bound, detail)
VALUES (:pause_id, :kind, :run_id, :key, :created_ms, :expires_ms, :step_id, :name,
        :expression, :bound, :detail);

-- name: drop_pause
-- Listen no more.
DELETE FROM pauses WHERE pause_id = :pause_id;

-- name: mute_pause
-- Stay until the timeout, but hear nothing.
UPDATE pauses SET key = NULL WHERE pause_id = :pause_id;

-- name: drop_pauses
-- A run listens no more.
DELETE FROM pauses WHERE run_id = :run_id;

-- name: pause
-- One pause.
SELECT * FROM pauses WHERE pause_id = :pause_id;

-- name: listeners
-- Who listens for this key. (Rowid order is not kept; the order of creation is good enough.)
SELECT * FROM pauses WHERE key = :key AND kind = :kind ORDER BY created_ms, pause_id;

-- name: event_listeners
-- Waits and cancellations that listen for an event of this name.
SELECT * FROM pauses WHERE key = :key AND kind IN ('event', 'cancel')
ORDER BY created_ms, pause_id;

-- name: pauses_of_run
-- What a run listens for.
SELECT * FROM pauses WHERE run_id = :run_id AND kind <> 'cancel' ORDER BY created_ms, pause_id;

-- name: put_row
-- One line of the timeline is final.
INSERT INTO timeline (run_id, step_id, name, kind, status, attempt, started_ms, ended_ms, output,
                      error, detail)
VALUES (:run_id, :step_id, :name, :kind, :status, :attempt, :started_ms, :ended_ms, :output,
        :error, :detail);

-- name: step_lines
-- The last line of each step, in order: what it is called and what it was.
SELECT step_id, name, kind, max(place) AS place FROM timeline
WHERE run_id = :run_id GROUP BY step_id ORDER BY place;

-- name: timeline
-- What is over, in order; a finished step's output is its stored value.
SELECT timeline.*, steps.value AS value FROM timeline
LEFT JOIN steps ON steps.run_id = timeline.run_id AND steps.step_id = timeline.step_id
WHERE timeline.run_id = :run_id ORDER BY timeline.place;
