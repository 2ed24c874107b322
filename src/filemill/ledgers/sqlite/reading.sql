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
SELECT number, fence, began_ns, ended_ns, outcome, facts, failure, revision FROM attempt WHERE run = ?1 ORDER BY fence;

-- name: publications
-- Outputs of a run.
SELECT publication.id, run.id, publication.fence, sink, name, staged, device, inode, size, digest,
       publication.records, mode, publication.state, over_size, over_digest, publication.state_ns
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

-- name: causes
-- Groups of dead letters that a person called mended.
SELECT fingerprint, resolved_ns, revision, principal, reason FROM cause;

-- name: uncopied
-- Deaths that the folder of what failed does not tell of, with the copy of an earlier one.
SELECT * FROM (
  SELECT run.id, file.id, run.state_ns, coalesce(copy.name, '')
  FROM run CROSS JOIN file ON file.no = run.file LEFT JOIN failure_copy AS copy ON copy.subject = run.id
  WHERE run.state = 'dead' AND (copy.died_ns IS NULL OR copy.died_ns <> run.state_ns) LIMIT ?1
) UNION ALL SELECT * FROM (
  SELECT file.id, file.id, file.state_ns, '' FROM file LEFT JOIN failure_copy AS copy ON copy.subject = file.id
  WHERE file.state = 'rejected' AND file.disposed_ns IS NULL AND copy.subject IS NULL LIMIT ?1
);

-- name: outlived
-- Copies in the folder of what failed of what is not dead, or not rejected, any more.
SELECT subject, coalesce(
    (SELECT file.id FROM run JOIN file ON file.no = run.file WHERE run.id = subject),
    (SELECT id FROM file WHERE id = subject), ''), died_ns, name, digest
FROM failure_copy
WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.id = subject AND run.state = 'dead')
  AND NOT EXISTS (SELECT 1 FROM file WHERE file.id = subject AND file.state = 'rejected')
LIMIT ?1;

-- name: ended
-- Runs in one side state, the latest arrival first, without those of some groups.
SELECT {run} FROM run
WHERE state = ?1 AND state IN ('dead', 'held', 'cancelled', 'discarded') AND (?2 = '' OR pipeline = ?2)
  AND file < ?3 AND coalesce(fingerprint, '') NOT IN (SELECT value FROM carray(?5))
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

-- name: queue
-- How many acknowledged files are not at an end, and their bytes.
SELECT coalesce(sum(iif(after = 'live', count, 0) - iif(before = 'live', count, 0)), 0),
       coalesce(sum(iif(after = 'live', bytes, 0) - iif(before = 'live', bytes, 0)), 0)
FROM standing WHERE kind = 'file';

-- name: queue_files
-- How many files are not at an end; counted.
SELECT (SELECT count(*) FROM file WHERE disposed_ns IS NULL AND state IN ('claiming', 'ingested'))
     + (SELECT count(DISTINCT file) FROM run WHERE state IN ('queued', 'running', 'publishing', 'retrying'));

-- name: queue_bytes
-- The sizes together of the files that are not at an end; added up.
SELECT coalesce(sum(size), 0) FROM file WHERE no IN (
  SELECT no FROM file WHERE disposed_ns IS NULL AND state IN ('claiming', 'ingested')
  UNION SELECT file FROM run WHERE state IN ('queued', 'running', 'publishing', 'retrying')
);

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

-- name: oldest_of_sender
-- When the oldest file with a queued run arrived, by pipeline; looks at every queued run, and is for a scope with few.
SELECT waiting.pipeline, file.claimed_ns FROM (
  SELECT pipeline, min(file) AS file FROM run
  WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying') GROUP BY pipeline
) AS waiting JOIN file ON file.no = waiting.file;

-- name: oldest_waiting
-- When the oldest file with a queued run arrived, by source and pipeline: one step in the index each, however many wait.
WITH RECURSIVE level (priority) AS (
  SELECT max(priority) FROM main.run
  WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying')
  UNION ALL
  SELECT (
    SELECT max(priority) FROM main.run
    WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying')
      AND priority < level.priority
  ) FROM level WHERE level.priority IS NOT NULL
), lane (source, pipeline) AS (
  SELECT source, pipeline FROM standing WHERE kind = 'run' GROUP BY source, pipeline
  HAVING sum(iif(after = 'live', count, 0)) > sum(iif(before = 'live', count, 0))
), waiting (source, pipeline, file) AS (
  SELECT lane.source, lane.pipeline, (
    SELECT min(file) FROM main.run
    WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying')
      AND priority = level.priority AND source = lane.source AND pipeline = lane.pipeline
  ) FROM lane CROSS JOIN level WHERE level.priority IS NOT NULL
)
SELECT waiting.source, waiting.pipeline, min(arrived.claimed_ns)
FROM waiting CROSS JOIN main.file AS arrived ON arrived.no = waiting.file GROUP BY 1, 2;

-- name: lanes_retrying
-- Each priority, source and pipeline of which runs may wait for a retry.
WITH RECURSIVE level (priority) AS (
  SELECT max(priority) FROM main.run WHERE state = 'retrying'
  UNION ALL
  SELECT (SELECT max(priority) FROM main.run WHERE state = 'retrying' AND priority < level.priority)
  FROM level WHERE level.priority IS NOT NULL
), lane (source, pipeline) AS (
  SELECT source, pipeline FROM standing WHERE kind = 'run' GROUP BY source, pipeline
  HAVING sum(iif(after = 'retrying', count, 0)) > sum(iif(before = 'retrying', count, 0))
)
SELECT level.priority, lane.source, lane.pipeline FROM lane CROSS JOIN level WHERE level.priority IS NOT NULL;

-- name: due_of_lane
-- The runs of one of these that are to be tried again first.
SELECT due_ns, no FROM main.run
WHERE state = 'retrying' AND priority = ?1 AND source = ?2 AND pipeline = ?3 ORDER BY due_ns LIMIT ?4;

-- name: runs_by_number
-- The runs with these numbers.
SELECT {run} FROM carray(?1) AS wanted CROSS JOIN run ON run.no = wanted.value;

-- name: moves
-- How often what went from where to where.
SELECT kind, source, pipeline, before, after, count, bytes FROM standing;

-- name: files_standing
-- How many acknowledged files count under each word.
SELECT word, sum(many) FROM (
  SELECT after AS word, count AS many FROM standing WHERE kind = 'file' AND after <> ''
  UNION ALL SELECT before, -count FROM standing WHERE kind = 'file' AND before <> ''
) GROUP BY word HAVING sum(many) <> 0;

-- name: files_claiming
-- How many files are being taken and not acknowledged yet, and their bytes.
SELECT count(*), coalesce(sum(size), 0) FROM file WHERE disposed_ns IS NULL AND state = 'claiming';

-- name: runs_standing
-- How many runs of each source and pipeline are in each state; queued, with a worker and being published are one: live.
SELECT source, pipeline, word, sum(many) FROM (
  SELECT source, pipeline, after AS word, count AS many FROM standing WHERE kind = 'run' AND after <> ''
  UNION ALL SELECT source, pipeline, before, -count FROM standing WHERE kind = 'run' AND before <> ''
) GROUP BY source, pipeline, word HAVING sum(many) <> 0;

-- name: runs_in_hand
-- How many runs of each source and pipeline are with a worker or being published: never many.
SELECT source, pipeline, state, count(*) FROM run
WHERE state IN ('running', 'publishing') AND state IN ('queued', 'running', 'publishing', 'retrying')
GROUP BY source, pipeline, state;

-- name: replays
-- How many runs there are that do another one again.
SELECT coalesce(sum(iif(after = 'replay', count, -count)), 0) FROM standing WHERE kind = 'replay';

-- name: tally
-- What was counted since a minute, of all outcomes or of some.
SELECT pipeline, step, sink, outcome, count, records, bytes, latency FROM tally
WHERE minute >= ?1 AND (?3 OR outcome IN (SELECT value FROM carray(?2)));

-- name: revisions
-- Stored configurations; the runs of each are counted apart.
SELECT number, digest, at_ns, text FROM revision ORDER BY number DESC;

-- name: activations
-- When each configuration came into force, and how, the latest first.
SELECT revision, at_ns, how FROM activation ORDER BY number DESC;

-- name: refusal
-- When and why the last configuration was not taken.
SELECT at_ns, why FROM refusal;

-- name: has_revision
-- Whether this configuration is stored.
SELECT EXISTS (SELECT 1 FROM revision WHERE digest = ?1);

-- name: revision_runs
-- How many runs each configuration has.
SELECT revision, count(*) FROM run GROUP BY revision;

-- name: first_since
-- The first file that arrived at or after a time.
SELECT min(no) FROM file INDEXED BY file_arrived WHERE claimed_ns >= ?1;

-- name: newest_file
-- The number of the latest file; 0 where there is none.
SELECT coalesce(max(no), 0) FROM file;

-- name: files_after
-- Files that arrived after the one of a number, in the order of arrival.
SELECT {file} FROM file WHERE no > ?1 ORDER BY no LIMIT ?2;

-- name: runs_ended_since
-- Runs that came to an end at or after a time, in that order.
SELECT {run} FROM run INDEXED BY run_end
WHERE state IN ('done', 'dead', 'held', 'cancelled', 'discarded') AND state_ns >= ?1 ORDER BY state_ns LIMIT ?2;

-- name: runs_ended_last
-- The runs that came to an end last, the latest first.
SELECT {run} FROM run INDEXED BY run_end
WHERE state IN ('done', 'dead', 'held', 'cancelled', 'discarded') ORDER BY state_ns DESC LIMIT ?1;

-- name: runs_retrying_since
-- Runs that wait for a retry since a time or later.
SELECT {run} FROM run WHERE state = 'retrying' AND state_ns >= ?1 LIMIT ?2;

-- name: due_of_sender
-- Runs that wait for a retry, the first to be due first; looks at all of them, and is for a scope with few.
SELECT {run} FROM run WHERE state = 'retrying' ORDER BY due_ns LIMIT ?1;

-- name: files_ended_since
-- Files that came to an end without a run at or after a time, in that order.
SELECT {file} FROM file INDEXED BY file_end
WHERE state IN ('held', 'rejected', 'quarantined', 'cancelled', 'discarded') AND state_ns >= ?1
ORDER BY state_ns LIMIT ?2;

-- name: files_ended_last
-- The files that came to an end without a run last, the latest first.
SELECT {file} FROM file INDEXED BY file_end
WHERE state IN ('held', 'rejected', 'quarantined', 'cancelled', 'discarded') ORDER BY state_ns DESC LIMIT ?1;

-- name: last_failures
-- The latest failure of each of these runs.
SELECT attempt.run, max(attempt.fence), attempt.failure
FROM carray(?1) AS wanted CROSS JOIN attempt ON attempt.run = wanted.value
WHERE attempt.failure IS NOT NULL GROUP BY attempt.run;

-- name: outputs_of
-- Where the outputs of these runs went.
SELECT publication.run, sink, publication.records, name
FROM carray(?1) AS wanted CROSS JOIN publication ON publication.run = wanted.value ORDER BY 1, sink, id;

-- name: children_of
-- How many files were made from each of these.
SELECT file.parent, count(*) FROM carray(?1) AS wanted CROSS JOIN file ON file.parent = wanted.value GROUP BY 1;

-- name: tags_from
-- Tags in order, from ?1 up to, not including, ?2: each is one step down the index, however many files have it.
WITH RECURSIVE found (tag) AS (
  SELECT min(tag) FROM file_tag WHERE tag >= ?1 AND tag < ?2
  UNION ALL
  SELECT (SELECT min(file_tag.tag) FROM file_tag WHERE file_tag.tag > found.tag AND file_tag.tag < ?2)
  FROM found WHERE found.tag IS NOT NULL
)
SELECT tag FROM found WHERE tag IS NOT NULL LIMIT ?3;

-- name: pipelines
-- Every pipeline that has a run, each by one step down the index.
WITH RECURSIVE found (pipeline) AS (
  SELECT min(pipeline) FROM run
  UNION ALL
  SELECT (SELECT min(run.pipeline) FROM run WHERE run.pipeline > found.pipeline)
  FROM found WHERE found.pipeline IS NOT NULL
)
SELECT pipeline FROM found WHERE pipeline IS NOT NULL;

-- name: fingerprints
-- Groups of dead letters, each by one step down the index.
WITH RECURSIVE found (fingerprint) AS (
  SELECT min(fingerprint) FROM run WHERE state = 'dead'
  UNION ALL
  SELECT (SELECT min(run.fingerprint) FROM run WHERE run.state = 'dead' AND run.fingerprint > found.fingerprint)
  FROM found WHERE found.fingerprint IS NOT NULL
)
SELECT fingerprint FROM found WHERE fingerprint IS NOT NULL LIMIT ?1;

-- name: upload
-- One upload by its id.
SELECT id, principal, key, source, relative, tags, state, offset, length, digest, at_ns, expires_ns
FROM upload WHERE id = ?1;

-- name: upload_of_key
-- One upload by the key under which its principal began it.
SELECT id, principal, key, source, relative, tags, state, offset, length, digest, at_ns, expires_ns
FROM upload WHERE principal = ?1 AND key = ?2 AND key <> '';

-- name: key
-- The key of an id.
SELECT id, name, roles, sources, pipelines, hash, created_ns, created_by, expires_ns, used_ns, revoked_ns
FROM principal WHERE id = ?1;

-- name: keys
-- Every key there ever was, the oldest first.
SELECT id, name, roles, sources, pipelines, hash, created_ns, created_by, expires_ns, used_ns, revoked_ns
FROM principal ORDER BY created_ns, id;

-- name: deeds
-- The audit, the latest first; an empty text lets all through.
SELECT number, at_ns, principal, action, object, detail, chain FROM audit
WHERE (?1 = '' OR principal = ?1) AND (?2 = '' OR action = ?2) AND ?3 = '' AND at_ns >= ?4 AND number < ?5
ORDER BY number DESC LIMIT ?6;

-- name: deeds_to
-- What was done to one object, the latest first.
SELECT number, at_ns, principal, action, object, detail, chain FROM audit INDEXED BY audit_object
WHERE (?1 = '' OR principal = ?1) AND (?2 = '' OR action = ?2) AND object = ?3 AND at_ns >= ?4 AND number < ?5
ORDER BY number DESC LIMIT ?6;

-- name: chain
-- The audit behind a number, in order.
SELECT number, at_ns, principal, action, object, detail, chain FROM audit WHERE number > ?1 ORDER BY number LIMIT ?2;

-- name: anchor
-- What is left of the rows of the audit that retention removed.
SELECT number, chain, rows, at_ns FROM audit_anchor;

-- name: session
-- One session by the hash of its cookie.
SELECT id, hash, principal, roles, sources, pipelines, key, how, trust, address, created_ns, used_ns, expires_ns
FROM session WHERE hash = ?1;

-- name: sessions
-- Every session that was not ended, the oldest first.
SELECT id, hash, principal, roles, sources, pipelines, key, how, trust, address, created_ns, used_ns, expires_ns
FROM session ORDER BY created_ns, id;
