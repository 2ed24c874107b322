-- name: lease
-- Count the attempt, raise the fence and say at which revision, before anything runs; moves run: queued, retrying -> running.
UPDATE run SET state = 'running', state_ns = ?2, began_ns = ?2, attempt = attempt + 1, fence = fence + 1,
  due_ns = NULL, revision = iif(pinned OR EXISTS (SELECT 1 FROM chunk WHERE chunk.run = run.no), revision, ?3)
WHERE no IN (SELECT value FROM carray(?1)) AND state IN ('queued', 'retrying');

-- name: orders
-- What workers need to know of these runs.
SELECT json_group_array(json_array(
  run.no, run.id, run.pipeline, run.revision, run.attempt, run.fence, run.solo,
  file.id, file.content, hex(file.relative), file.size, file.source, file.claimed_ns, file.tags,
  json(file.attributes), lower(hex(coalesce(file.digest, x''))), file.media,
  CASE WHEN file.parent IS NULL THEN 0 ELSE (
    WITH RECURSIVE above (parent, depth) AS (
      SELECT file.parent, 0 UNION ALL
      SELECT up.parent, above.depth + 1 FROM above JOIN file AS up ON up.id = above.parent
    ) SELECT max(depth) FROM above) END,
  coalesce(run.input, ''), coalesce(run.from_step, ''), json(run.released), run.insists, run.supersede,
  CASE WHEN run.attempt < 2 THEN '' ELSE coalesce((
    SELECT hex(failed.failure) FROM attempt AS failed
    WHERE failed.run = run.no AND failed.outcome = 'retrying' AND failed.fence > coalesce((
      SELECT max(fence) FROM attempt AS before WHERE before.run = run.no AND before.outcome IN ('dead', 'held')), 0)
    ORDER BY failed.fence DESC LIMIT 1), '') END))
FROM carray(?1) AS wanted CROSS JOIN run ON run.no = wanted.value CROSS JOIN file ON file.no = run.file;

-- name: superseded
-- What the runs published whose outputs' places these take, the latest first: of the run that each does again, and of the
-- runs before it, if that one took others' places itself or came to nothing.
WITH RECURSIVE line (no, id, depth) AS (
  SELECT run.no, run.replays, 1 FROM carray(?1) AS wanted CROSS JOIN run ON run.no = wanted.value
  WHERE run.supersede AND run.replays IS NOT NULL
  UNION ALL
  SELECT line.no, earlier.replays, line.depth + 1 FROM line CROSS JOIN run AS earlier ON earlier.id = line.id
  WHERE earlier.replays IS NOT NULL AND (earlier.supersede OR earlier.state IN ('cancelled', 'discarded'))
)
SELECT json_group_array(json_array(no, id, run, sink, hex(name), size, digest)) FROM (
  SELECT line.no, publication.id, line.id AS run, sink, name, size, digest
  FROM line CROSS JOIN run AS earlier ON earlier.id = line.id CROSS JOIN publication ON publication.run = earlier.no
  WHERE publication.state <> 'staged' ORDER BY line.no, line.depth
);

-- name: find_runs
-- Where the runs with these ids are now, and what tallies need of their files.
SELECT json_group_array(json_array(
  run.no, run.id, run.state, run.fence, run.attempt, run.began_ns, run.pipeline, run.records,
  file.size, file.claimed_ns, run.revision))
FROM carray(?1) AS wanted CROSS JOIN run ON run.id = wanted.value CROSS JOIN file ON file.no = run.file;

-- name: stage
-- Note that all outputs are staged and forget the last failure; moves run: running -> publishing.
WITH given (no, fence, at_ns, records, bad) AS (VALUES (?, ?, ?, ?, ?))
UPDATE run SET state = 'publishing', state_ns = given.at_ns, records = given.records, bad = given.bad,
  fingerprint = NULL, step = NULL, error = NULL, message = NULL
FROM given WHERE run.no = given.no AND run.fence = given.fence AND run.state = 'running';

-- name: add_publications
-- Record staged outputs.
INSERT INTO publication (run, id, fence, sink, name, staged, device, inode, size, digest, records, mode,
                         over_size, over_digest, state, state_ns)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'staged', ?);

-- name: drop_staged
-- Forget what earlier attempts of these runs staged and nobody published.
DELETE FROM publication WHERE run IN (SELECT value FROM carray(?1)) AND state = 'staged';

-- name: published_of
-- What earlier attempts of these runs published already.
SELECT json_group_array(publication.id)
FROM carray(?1) AS wanted CROSS JOIN publication ON publication.run = wanted.value
WHERE publication.state <> 'staged';

-- name: add_attempts
-- Record how attempts went; a later word about the same attempt adds only its end and its failure.
INSERT INTO attempt (run, fence, number, began_ns, ended_ns, outcome, facts, failure, revision)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, fence) DO UPDATE SET
  ended_ns = excluded.ended_ns, outcome = excluded.outcome, failure = excluded.failure;

-- name: drop_rejects
-- Forget the bad records of earlier attempts of these runs.
DELETE FROM reject WHERE run IN (SELECT value FROM carray(?1));

-- name: add_rejects
-- Record bad records.
INSERT INTO reject (run, number, step, record, line, start, end, error, message)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_chunks
-- Record chunks that are done; one done again takes the place of the earlier one.
INSERT OR REPLACE INTO chunk (run, number, fence, state, start, end, first_record, first_line, checkpoint)
VALUES (?, ?, ?, 'done', ?, ?, ?, ?, ?);

-- name: progress
-- Forget the interruptions of runs that have come further since: they are no reason to suspect the file.
UPDATE run SET interruptions = 0 WHERE no IN (SELECT value FROM carray(?1)) AND interruptions > 0;

-- name: chunks_of
-- The chunks of one run that are done, in the file's order.
SELECT json_group_array(json_array(number, fence, start, end, first_record, first_line, hex(checkpoint))) FROM (
  SELECT chunk.number, chunk.fence, start, end, first_record, first_line, checkpoint
  FROM run CROSS JOIN chunk ON chunk.run = run.no WHERE run.id = ?1 ORDER BY chunk.number
);

-- name: drop_chunks
-- Forget the chunks of these runs.
DELETE FROM chunk WHERE run IN (SELECT value FROM carray(?1));

-- name: left_chunks
-- The last chunk that is done of each run that is not at an end.
SELECT json_group_array(hex(checkpoint)) FROM chunk
WHERE (run, number) IN (SELECT run, max(number) FROM chunk GROUP BY run);

-- name: rename_output
-- Fix another name for an output before it is made visible.
UPDATE publication SET name = ?2 WHERE id = ?1 AND state = 'staged';

-- name: mark_outputs
-- Note what became of some of the staged outputs of these runs: published, or unverified.
UPDATE publication SET state = ?3, state_ns = ?4
WHERE run IN (SELECT value FROM carray(?1)) AND state = 'staged'
  AND id IN (SELECT value FROM carray(?2));

-- name: published
-- Note that the staged outputs of these runs are visible.
UPDATE publication SET state = 'published', state_ns = ?2
WHERE run IN (SELECT value FROM carray(?1)) AND state = 'staged';

-- name: outputs_of
-- What these runs hold in each sink.
SELECT json_group_array(json_array(sink, state, outputs, records, bytes)) FROM (
  SELECT sink, publication.state AS state, count(*) AS outputs, sum(records) AS records, sum(size) AS bytes
  FROM carray(?1) AS wanted CROSS JOIN publication ON publication.run = wanted.value
  GROUP BY sink, publication.state
);

-- name: finish
-- Note that everything is published and nothing of the way there is needed any more; moves run: publishing -> done.
UPDATE run SET state = 'done', state_ns = ?2, input = NULL
WHERE no IN (SELECT value FROM carray(?1)) AND state = 'publishing';

-- name: fail
-- Note a bad end; moves run: running -> retrying, dead, queued, held; moves run: publishing -> dead.
WITH given (no, fence, before, after, at_ns, spent, due_ns, solo, records, bad, fingerprint, step, error,
            message, input, tries) AS (
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
UPDATE run SET state = given.after, state_ns = given.at_ns, attempt = attempt - (1 - given.spent),
  due_ns = given.due_ns, solo = given.solo, records = given.records, bad = coalesce(given.bad, run.bad),
  fingerprint = given.fingerprint, step = given.step, error = given.error, message = given.message,
  input = CASE WHEN given.input IS NOT NULL THEN given.input
    WHEN run.from_step IS NULL AND given.after IN ('dead', 'held') THEN NULL ELSE run.input END,
  tries = coalesce(given.tries, run.tries)
FROM given WHERE run.no = given.no AND run.fence = given.fence AND run.state = given.before;

-- name: left_running
-- Runs that were running when a former server ended.
SELECT json_group_array(json_array(no, id, pipeline, fence, attempt, interruptions, coalesce(began_ns, state_ns), revision))
FROM run WHERE state = 'running' AND state IN ('queued', 'running', 'publishing', 'retrying');

-- name: interrupt
-- Queue what a former server left, uncharged; ?3 counts an interruption, ?4 asks for solitude; moves run: running -> queued.
UPDATE run SET state = 'queued', state_ns = ?2, attempt = attempt - 1, fence = fence + 1,
  interruptions = interruptions + ?3, solo = max(solo, ?4)
WHERE no IN (SELECT value FROM carray(?1)) AND state = 'running';

-- name: give_up
-- End a run that was interrupted too often; moves run: running -> dead.
UPDATE run SET state = 'dead', state_ns = ?2, attempt = attempt - 1, fence = fence + 1,
  interruptions = interruptions + 1, fingerprint = ?3, step = '', error = ?4, message = ?5
WHERE no = ?1 AND state = 'running';

-- name: left_publishing
-- Runs whose outputs are staged and not all known to be published.
SELECT json_group_array(no) FROM (
  SELECT no FROM run WHERE state = 'publishing' AND state IN ('queued', 'running', 'publishing', 'retrying') ORDER BY no
);

-- name: left_staged
-- Outputs staged and not published, of runs in one state.
SELECT json_group_array(json_array(
  publication.id, run.id, publication.fence, publication.sink, hex(publication.name),
  hex(publication.staged), publication.device, publication.inode, publication.size, publication.digest,
  publication.records, publication.mode, publication.state, publication.over_size, publication.over_digest))
FROM publication INDEXED BY publication_staged CROSS JOIN run ON run.no = publication.run
WHERE publication.state = 'staged' AND run.state = ?1;
