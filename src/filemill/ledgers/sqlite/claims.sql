-- name: has_copied
-- Whether any file of a source was taken by copy and stays in place, so that new claims must be compared.
SELECT EXISTS (SELECT 1 FROM file WHERE source = ?1 AND how = 'copy')
    OR EXISTS (SELECT 1 FROM kept WHERE source = ?1);

-- name: known_copied
-- Which of these versions of a path are known already and still in place. Not by device: its number may be another
-- one after a restart of the machine, and every file that was kept would be taken once more.
WITH given (i, source, relative, inode, size, mtime_ns) AS (VALUES (?, ?, ?, ?, ?, ?))
SELECT json_group_array(i) FROM (
  SELECT given.i
  FROM given CROSS JOIN file ON file.source = given.source AND file.relative = given.relative
  WHERE file.how = 'copy' AND file.inode = given.inode
    AND file.size = given.size AND file.mtime_ns = given.mtime_ns
  UNION
  SELECT given.i
  FROM given CROSS JOIN kept ON kept.source = given.source AND kept.relative = given.relative
    AND kept.inode = given.inode AND kept.size = given.size AND kept.mtime_ns = given.mtime_ns
);

-- name: begin_claims
-- Note the intent to take files.
INSERT INTO file (id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content,
                  claimed_ns, how, after, priority, parent, given, tags, principal)
VALUES (?, 'claiming', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: find_files
-- Number and state of the files with these ids, and what their runs take from them.
SELECT json_group_array(json_array(file.no, file.id, file.state, file.size, file.given, file.claimed_ns,
                                   file.source, file.priority))
FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value;

-- name: ingest
-- Acknowledge claimed files; moves file: claiming -> ingested.
UPDATE file SET state = 'ingested', state_ns = ?2, ingested_ns = ?2
WHERE no IN (SELECT value FROM carray(?1)) AND state = 'claiming';

-- name: abandon
-- Forget claims whose file vanished before it was acknowledged.
DELETE FROM file WHERE no IN (SELECT value FROM carray(?1)) AND state = 'claiming';

-- name: route
-- Note what inspection found; moves file: ingested -> inspected, held, rejected, quarantined, discarded.
WITH given (no, state, at_ns, tags, digest, media, attributes, facts, reason, duplicate_of) AS (
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)
UPDATE file SET state = given.state, state_ns = given.at_ns, tags = given.tags, digest = given.digest,
  media = given.media, attributes = given.attributes, facts = given.facts, reason = given.reason,
  duplicate_of = given.duplicate_of
FROM given WHERE file.no = given.no AND file.state = 'ingested';

-- name: add_tags
-- Make files findable by their tags.
INSERT OR IGNORE INTO file_tag (tag, file) VALUES (?, ?);

-- name: add_runs
-- Queue new runs.
INSERT INTO run (id, file, source, pipeline, revision, priority, state, state_ns, queued_ns, order_key)
VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?);

-- name: find_digests
-- The earliest file with each of these digests.
SELECT json_group_array(json_array(lower(hex(wanted.value)), (
  SELECT id FROM file WHERE no = (
    SELECT min(same.no) FROM file AS same
    WHERE same.digest IS NOT NULL AND substr(same.digest, 1, 8) = substr(wanted.value, 1, 8)
      AND same.digest = wanted.value
  )
)))
FROM carray(?1) AS wanted;

-- name: disposable
-- Which of these files have only finished runs and wait for what their source does afterwards.
SELECT json_group_array(json_array(file.no, file.id, file.content, hex(file.path), file.after, file.how))
FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value
WHERE file.state = 'inspected' AND file.disposed_ns IS NULL
  AND EXISTS (SELECT 1 FROM run WHERE run.file = file.no)
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state <> 'done');

-- name: dispose
-- Note that what a source does afterwards was done.
UPDATE file SET disposed_ns = ?2, freed_ns = CASE after WHEN 'archive' THEN freed_ns ELSE ?2 END
WHERE no IN (SELECT value FROM carray(?1)) AND state = 'inspected' AND disposed_ns IS NULL;

-- name: known_ids
-- Which of these content references the files with these ids have, and whether their bytes are needed.
SELECT json_group_array(json_array(file.content, file.freed_ns IS NULL))
FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value;

-- name: known_inputs
-- Which of these content references are some run's kept input, and whether the run may still begin with it.
SELECT json_group_array(json_array(run.input, run.state NOT IN ('done', 'cancelled', 'discarded')))
FROM carray(?1) AS wanted CROSS JOIN run ON run.input = wanted.value
WHERE run.input IS NOT NULL;

-- name: known_content
-- Which of these content references any file has, and whether their bytes are needed; looks at every file.
SELECT json_group_array(json_array(content, freed_ns IS NULL))
FROM file WHERE content IN (SELECT value FROM carray(?1));

-- name: known_garbage
-- Which of these content references are on the list of what is to be removed.
SELECT json_group_array(json_array(wanted.value, 0))
FROM carray(?1) AS wanted CROSS JOIN garbage ON garbage.place = 'content' AND garbage.name = CAST(wanted.value AS BLOB);

-- name: left_files
-- Files that a former server left in one state.
SELECT json_group_array(json_array(id, source, hex(path), hex(relative), device, inode, size, mtime_ns,
                                   content, claimed_ns, given, how, priority, parent, after,
                                   (WITH RECURSIVE above (parent, depth) AS (
                                      SELECT mine.parent, 0 UNION ALL
                                      SELECT up.parent, above.depth + 1
                                      FROM above JOIN file AS up ON up.id = above.parent
                                    ) SELECT max(depth) FROM above),
                                   json_extract(attributes, '$.released')))
FROM (SELECT * FROM file WHERE disposed_ns IS NULL AND state = ?1 ORDER BY no) AS mine;

-- name: find_left
-- The rows in one state of the files with these ids.
SELECT json_group_array(json_array(file.id, source, hex(path), hex(relative), device, inode, size, mtime_ns,
                                   content, claimed_ns, given, how, priority, parent, after,
                                   (WITH RECURSIVE above (parent, depth) AS (
                                      SELECT file.parent, 0 UNION ALL
                                      SELECT up.parent, above.depth + 1
                                      FROM above JOIN file AS up ON up.id = above.parent
                                    ) SELECT max(depth) FROM above),
                                   json_extract(file.attributes, '$.released')))
FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value
WHERE file.state = ?2;

-- name: forebears
-- Of the files of these runs: what their children inherit, and the tags that the source gave the first of their forebears.
SELECT json_group_array(json_array(run.no, file.id, file.source, file.priority, file.after,
  (WITH RECURSIVE above (parent, given) AS (
     SELECT file.parent, file.given UNION ALL
     SELECT up.parent, up.given FROM above JOIN file AS up ON up.id = above.parent
   ) SELECT given FROM above WHERE parent IS NULL), file.principal))
FROM carray(?1) AS wanted CROSS JOIN run ON run.no = wanted.value CROSS JOIN file ON file.no = run.file;

-- name: add_children
-- Note the children of staged runs, but for those that are known already.
INSERT INTO file (id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content,
                  claimed_ns, how, after, priority, parent, given, tags, principal)
VALUES (?, 'claiming', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'rename', ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: undisposed
-- The next files that wait for what their source does afterwards, and whether all their runs are done.
SELECT json_group_array(json_array(waiting.no, waiting.id,
  EXISTS (SELECT 1 FROM run WHERE run.file = waiting.no)
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = waiting.no AND run.state <> 'done')))
FROM (
  SELECT no, id FROM file WHERE disposed_ns IS NULL AND state = 'inspected' AND no > ?1 ORDER BY no LIMIT ?2
) AS waiting;

-- name: live
-- How many files and runs are on their way to an end; what a person paused waits for a person.
SELECT (SELECT count(*) FROM file WHERE disposed_ns IS NULL AND state IN ('claiming', 'ingested'))
     + (SELECT count(*) FROM run WHERE state IN ('queued', 'running', 'publishing', 'retrying')
          AND NOT (state IN ('queued', 'retrying') AND pipeline IN (SELECT pipeline FROM pause)));
