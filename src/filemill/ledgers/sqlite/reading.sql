-- name: files_by_id
-- The files with these ids.
SELECT {file} FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value;

-- name: files_by_number
-- The files with these numbers.
SELECT {file} FROM carray(?1) AS wanted CROSS JOIN file ON file.no = wanted.value;

-- name: ids
-- Files and runs whose id begins with a prefix: ids from ?1 up to, not including, ?2.
SELECT * FROM (SELECT 'file', id, id FROM file WHERE id >= ?1 AND id < ?2 LIMIT ?3)
UNION ALL
SELECT * FROM (
  SELECT 'run', run.id, file.id FROM run JOIN file ON file.no = run.file
  WHERE run.id >= ?1 AND run.id < ?2 LIMIT ?3
);

-- name: runs
-- Every run of these files.
SELECT {run} FROM carray(?1) AS wanted CROSS JOIN run ON run.file = wanted.value ORDER BY run.no;

-- name: attempts
-- How each attempt of a run went.
SELECT number, fence, began_ns, ended_ns, outcome, facts, failure FROM attempt WHERE run = ?1 ORDER BY fence;

-- name: publications
-- Outputs of a run.
SELECT publication.id, run.id, publication.fence, sink, name, staged, device, inode, size, digest,
       publication.records, mode, publication.state, publication.state_ns
FROM publication JOIN run ON run.no = publication.run WHERE publication.run = ?1 ORDER BY sink, publication.id;

-- name: rejects
-- Bad records of a run.
SELECT step, record, line, start, end, error, message FROM reject WHERE run = ?1
ORDER BY record, number LIMIT ?2;

-- name: children
-- Files made from a file.
SELECT id FROM file WHERE parent = ?1 ORDER BY no LIMIT 1000;

-- name: twins
-- Later files with the same content.
SELECT id FROM file WHERE duplicate_of = ?1 ORDER BY no LIMIT 1000;

-- name: groups
-- Dead runs by fingerprint, with the words of the latest.
WITH grouped AS (
  SELECT coalesce(fingerprint, '') AS fingerprint, count(*) AS many, min(state_ns) AS first_ns,
         max(state_ns) AS last_ns, pipeline, step, error, message
  FROM run WHERE state = 'dead' AND (?1 = '' OR pipeline = ?1) AND state_ns >= ?2
  GROUP BY 1
)
SELECT fingerprint, pipeline, coalesce(step, ''), coalesce(error, ''), coalesce(message, ''), many,
       first_ns, last_ns
FROM grouped ORDER BY last_ns DESC;

-- name: ended
-- Runs in one side state, the latest arrival first.
SELECT {run} FROM run
WHERE state = ?1 AND state IN ('dead', 'held', 'cancelled', 'discarded') AND (?2 = '' OR pipeline = ?2)
  AND file < ?3
ORDER BY file DESC, pipeline LIMIT ?4;

-- name: ended_of_group
-- Dead runs of one fingerprint, the latest arrival first.
SELECT {run} FROM run
WHERE state = 'dead' AND ?1 = 'dead' AND fingerprint = ?5 AND (?2 = '' OR pipeline = ?2) AND file < ?3
ORDER BY file DESC LIMIT ?4;

-- name: run_states
-- Where these runs are, and what they died of.
SELECT run.id, run.state, coalesce(run.fingerprint, '')
FROM carray(?1) AS wanted CROSS JOIN run ON run.id = wanted.value;

-- name: pauses
-- Which pipelines are paused, since when, by whom and why.
SELECT pipeline, at_ns, principal, reason FROM pause ORDER BY pipeline;

-- name: audit
-- What people did to these objects, in order.
SELECT at_ns, principal, action, object, detail FROM carray(?1) AS wanted
CROSS JOIN audit ON audit.object = wanted.value ORDER BY audit.number;

-- name: file_total
-- How many files there are.
SELECT count(*) FROM file;

-- name: files_open
-- How many files that are not disposed of are in each state.
SELECT state, count(*) FROM file WHERE disposed_ns IS NULL GROUP BY state;

-- name: files_live
-- How many files have a live run.
SELECT count(DISTINCT file) FROM run WHERE state IN ('queued', 'running', 'publishing', 'retrying');

-- name: files_ended
-- How many files without a live run have a dead one, else a held, a cancelled, a discarded one.
SELECT rank, count(*) FROM (
  SELECT file, min(CASE state WHEN 'dead' THEN 0 WHEN 'held' THEN 1 WHEN 'cancelled' THEN 2 ELSE 3 END) AS rank
  FROM run AS ended WHERE state IN ('dead', 'held', 'cancelled', 'discarded')
  GROUP BY file
) AS worst
WHERE NOT EXISTS (
  SELECT 1 FROM run WHERE run.file = worst.file
    AND run.state IN ('queued', 'running', 'publishing', 'retrying')
)
GROUP BY rank;

-- name: runs_total
-- How many runs each pipeline has.
SELECT pipeline, count(*) FROM run GROUP BY pipeline;

-- name: runs_live
-- How many runs are in each live state.
SELECT pipeline, state, count(*) FROM run
WHERE state IN ('queued', 'running', 'publishing', 'retrying') GROUP BY pipeline, state;

-- name: runs_ended
-- How many runs are in each side state.
SELECT pipeline, state, count(*) FROM run
WHERE state IN ('dead', 'held', 'cancelled', 'discarded') GROUP BY pipeline, state;

-- name: oldest_waiting
-- When the oldest file with a queued run arrived, by pipeline.
SELECT waiting.pipeline, file.claimed_ns FROM (
  SELECT pipeline, min(file) AS file FROM run
  WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying') GROUP BY pipeline
) AS waiting JOIN file ON file.no = waiting.file;

-- name: tally
-- What was counted since a minute.
SELECT pipeline, step, sink, outcome, count, records, bytes, latency FROM tally WHERE minute >= ?1;

-- name: revisions
-- Stored configurations; the runs of each are counted apart.
SELECT number, digest, at_ns, text FROM revision ORDER BY number DESC;

-- name: has_revision
-- Whether this configuration is stored.
SELECT EXISTS (SELECT 1 FROM revision WHERE digest = ?1);

-- name: revision_runs
-- How many runs each configuration has.
SELECT revision, count(*) FROM run GROUP BY revision;

-- name: first_since
-- The first file that arrived at or after a time.
SELECT min(no) FROM file INDEXED BY file_arrived WHERE claimed_ns >= ?1;
