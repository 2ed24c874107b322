-- name: find
-- What a person's move needs to know of these runs.
SELECT json_group_array(json_array(
  run.no, run.id, run.state, run.fence, run.step, run.input, json(run.released), run.file, run.pipeline, run.revision,
  run.source, file.freed_ns IS NULL))
FROM carray(?1) AS wanted CROSS JOIN run ON run.id = wanted.value CROSS JOIN file ON file.no = run.file;

-- name: redrive
-- Try dead runs again with all their attempts; moves run: dead -> queued.
WITH given (no, at_ns, from_step, insists, revision) AS (VALUES (?, ?, ?, ?, ?))
UPDATE run SET state = 'queued', state_ns = given.at_ns, fence = fence + 1, attempt = 0, interruptions = 0,
  due_ns = NULL, from_step = given.from_step, insists = given.insists, pinned = given.revision > 0,
  revision = CASE WHEN given.revision > 0 THEN given.revision ELSE run.revision END
FROM given WHERE run.no = given.no AND run.state = 'dead';

-- name: redeliver
-- Publish what is missing of runs that died when they published; moves run: dead -> publishing.
UPDATE run SET state = 'publishing', state_ns = ?2 WHERE no IN (SELECT value FROM carray(?1)) AND state = 'dead';

-- name: release
-- Let held runs go on, with the answers that a person gave; moves run: held -> queued.
WITH given (no, at_ns, from_step, released) AS (VALUES (?, ?, ?, ?))
UPDATE run SET state = 'queued', state_ns = given.at_ns, fence = fence + 1, attempt = 0, interruptions = 0,
  due_ns = NULL, from_step = given.from_step, insists = 0, released = given.released
FROM given WHERE run.no = given.no AND run.state = 'held';

-- name: find_mendable
-- What a person's move needs to know of these runs to put another file in their place.
SELECT json_group_array(json_array(run.no, run.id, run.state, run.fence, run.bad, run.mended, run.file))
FROM carray(?1) AS wanted CROSS JOIN run ON run.id = wanted.value;

-- name: mended
-- Remember with these runs the file that a person made in their place, or of their bad records.
UPDATE run SET mended = ?2 WHERE no IN (SELECT value FROM carray(?1));

-- name: inputs_to_garbage
-- Name the kept inputs of these runs as to be removed.
INSERT OR IGNORE INTO garbage (place, name, size)
SELECT 'content', CAST(run.input AS BLOB), 0
FROM carray(?1) AS wanted CROSS JOIN run ON run.no = wanted.value WHERE run.input IS NOT NULL;

-- name: staged_to_garbage
-- Name what these runs staged and nobody will publish as to be removed.
INSERT OR IGNORE INTO garbage (place, name, size)
SELECT 'staged', publication.staged, publication.size
FROM carray(?1) AS wanted CROSS JOIN publication ON publication.run = wanted.value WHERE publication.state = 'staged';

-- name: discard
-- Give dead and held runs up; moves run: dead, held -> discarded.
UPDATE run SET state = 'discarded', state_ns = ?2, input = NULL
WHERE no IN (SELECT value FROM carray(?1)) AND state IN ('dead', 'held');

-- name: cancel
-- Call runs back, and what a worker does for them counts no more; moves run: queued, retrying, running -> cancelled.
UPDATE run SET state = 'cancelled', state_ns = ?2, fence = fence + 1, due_ns = NULL, input = NULL
WHERE no IN (SELECT value FROM carray(?1)) AND state IN ('queued', 'retrying', 'running');

-- name: replay
-- Queue new runs that do ended ones again.
WITH given (id, file, source, pipeline, revision, pinned, priority, state_ns, queued_ns, replays, supersede) AS (
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
INSERT INTO run (id, file, source, pipeline, revision, pinned, priority, state, state_ns, queued_ns, replays,
                 supersede, order_key)
SELECT given.id, given.file, given.source, given.pipeline, given.revision, given.pinned, given.priority, 'queued',
  given.state_ns, given.queued_ns, given.replays, given.supersede, replayed.order_key
FROM given CROSS JOIN run AS replayed ON replayed.id = given.replays;

-- name: superseded_already
-- Which of these runs have a later one that takes the places of their outputs, or wants to.
SELECT json_group_array(run.id)
FROM carray(?1) AS wanted CROSS JOIN run ON run.id = wanted.value
WHERE EXISTS (
  SELECT 1 FROM run AS later
  WHERE later.file = run.file AND later.replays = run.id AND later.supersede
    AND later.state NOT IN ('cancelled', 'discarded')
);

-- name: readmit
-- Have files inspected and routed again; moves file: held, quarantined -> ingested.
-- What a person let go on in spite of a scanner says so for good; what else inspection had found is forgotten.
UPDATE file SET state = 'ingested', state_ns = ?2, reason = '', tags = given, attributes =
  CASE WHEN coalesce(?3, json_extract(attributes, '$.released')) IS NULL THEN '{}'
       ELSE json_object('released', coalesce(?3, json_extract(attributes, '$.released'))) END
WHERE no IN (SELECT value FROM carray(?1)) AND state IN ('held', 'quarantined');

-- name: asked_by_others
-- Of which of these quarantined files another person said, since they are, that they may go on.
SELECT json_group_array(file.id)
FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value
WHERE EXISTS (SELECT 1 FROM audit WHERE audit.object = file.id AND audit.action = ?2
              AND audit.principal <> ?3 AND audit.at_ns >= file.state_ns);

-- name: tags_of
-- What these files are found by.
SELECT json_group_array(json_array(no, tags)) FROM file WHERE no IN (SELECT value FROM carray(?1));

-- name: forget_tags
-- Forget by which tags files are found.
WITH given (tag, file) AS (VALUES (?, ?))
DELETE FROM file_tag WHERE (tag, file) IN (SELECT tag, file FROM given);

-- name: discard_files
-- Give files without runs up; moves file: held, rejected, quarantined -> discarded.
UPDATE file SET state = 'discarded', state_ns = ?2
WHERE no IN (SELECT value FROM carray(?1)) AND state IN ('held', 'rejected', 'quarantined');

-- name: staged_of
-- What these runs staged and nobody published.
SELECT json_group_array(json_array(
  publication.id, run.id, publication.fence, publication.sink, hex(publication.name),
  hex(publication.staged), publication.device, publication.inode, publication.size, publication.digest,
  publication.records, publication.mode, publication.state, publication.over_size, publication.over_digest))
FROM carray(?1) AS wanted CROSS JOIN run ON run.no = wanted.value
CROSS JOIN publication ON publication.run = run.no WHERE publication.state = 'staged';

-- name: pause
-- Lease no runs of these pipelines.
INSERT INTO pause (pipeline, at_ns, principal, reason) VALUES (?, ?, ?, ?);

-- name: resume
-- Lease runs of these pipelines again.
DELETE FROM pause WHERE pipeline IN (SELECT value FROM carray(?1));

-- name: paused
-- Which pipelines are paused.
SELECT json_group_array(pipeline) FROM pause;

-- name: resolve
-- Remember that the causes of these groups are mended.
INSERT OR REPLACE INTO cause (fingerprint, resolved_ns, revision, principal, reason) VALUES (?, ?, ?, ?, ?);

-- name: latest_revision
-- The number of the configuration stored last; 0 without one.
SELECT coalesce((SELECT revision FROM activation ORDER BY number DESC LIMIT 1), (SELECT max(number) FROM revision), 0);
