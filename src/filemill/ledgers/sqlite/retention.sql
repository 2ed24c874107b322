-- name: newest_before
-- The number of the latest file that arrived before a moment.
SELECT no FROM file INDEXED BY file_arrived WHERE claimed_ns < ?1 ORDER BY claimed_ns DESC LIMIT 1;

-- name: stored
-- Files that still have their bytes, from a number down: whether they are at an end, and since when.
SELECT json_group_array(json_array(no, fate, ended_ns, size, content, how, tags, 0)) FROM (
  SELECT file.no AS no, file.size AS size, file.content AS content, file.how AS how, file.tags AS tags,
    CASE
      WHEN state IN ('claiming', 'ingested') THEN 'live'
      WHEN EXISTS (SELECT 1 FROM run WHERE run.file = file.no
                   AND run.state IN ('queued', 'running', 'publishing', 'retrying')) THEN 'live'
      WHEN state = 'inspected' AND disposed_ns IS NULL
        AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state <> 'done') THEN 'live'
      WHEN state IN ('held', 'rejected', 'quarantined')
        OR EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state IN ('dead', 'held')) THEN 'waiting'
      ELSE 'ended'
    END AS fate,
    max(state_ns, coalesce(disposed_ns, 0),
        coalesce((SELECT max(run.state_ns) FROM run WHERE run.file = file.no), 0)) AS ended_ns
  FROM file INDEXED BY file_stored
  WHERE freed_ns IS NULL AND no < ?1 ORDER BY no DESC LIMIT ?2
);

-- name: all_before
-- The latest files below a number.
SELECT json_group_array(no) FROM (SELECT no FROM file WHERE no < ?1 ORDER BY no DESC LIMIT ?2);

-- name: waiting_before
-- The latest files below ?1, but not below ?3, that wait for a person, or whose runs do; looks at no others.
SELECT json_group_array(no) FROM (
  SELECT no FROM (
    SELECT DISTINCT file AS no FROM run INDEXED BY run_ended
    WHERE state = 'dead' AND state IN ('dead', 'held', 'cancelled', 'discarded') AND file < ?1 AND file >= ?3
    ORDER BY file DESC LIMIT ?2
  ) UNION SELECT no FROM (
    SELECT DISTINCT file AS no FROM run INDEXED BY run_ended
    WHERE state = 'held' AND state IN ('dead', 'held', 'cancelled', 'discarded') AND file < ?1 AND file >= ?3
    ORDER BY file DESC LIMIT ?2
  ) UNION SELECT no FROM (
    SELECT no FROM file INDEXED BY file_open
    WHERE disposed_ns IS NULL AND state = 'held' AND no < ?1 AND no >= ?3 ORDER BY no DESC LIMIT ?2
  ) UNION SELECT no FROM (
    SELECT no FROM file INDEXED BY file_open
    WHERE disposed_ns IS NULL AND state = 'rejected' AND no < ?1 AND no >= ?3 ORDER BY no DESC LIMIT ?2
  ) UNION SELECT no FROM (
    SELECT no FROM file INDEXED BY file_open
    WHERE disposed_ns IS NULL AND state = 'quarantined' AND no < ?1 AND no >= ?3 ORDER BY no DESC LIMIT ?2
  )
  ORDER BY no DESC LIMIT ?2
);

-- name: known
-- Of these files: whether they are at an end, since when, and whether others were made from them; the latest first.
SELECT json_group_array(json_array(no, fate, ended_ns, size, content, how, tags, parent)) FROM (
  SELECT file.no AS no, iif(freed_ns IS NULL, file.size, -1) AS size, file.content AS content, file.how AS how,
    file.tags AS tags,
    CASE
      WHEN state IN ('claiming', 'ingested') THEN 'live'
      WHEN EXISTS (SELECT 1 FROM run WHERE run.file = file.no
                   AND run.state IN ('queued', 'running', 'publishing', 'retrying')) THEN 'live'
      WHEN state = 'inspected' AND disposed_ns IS NULL
        AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state <> 'done') THEN 'live'
      WHEN state IN ('held', 'rejected', 'quarantined')
        OR EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state IN ('dead', 'held')) THEN 'waiting'
      ELSE 'ended'
    END AS fate,
    max(state_ns, coalesce(disposed_ns, 0),
        coalesce((SELECT max(run.state_ns) FROM run WHERE run.file = file.no), 0)) AS ended_ns,
    EXISTS (SELECT 1 FROM file AS child WHERE child.parent = file.id) AS parent
  FROM carray(?1) AS wanted CROSS JOIN file ON file.no = wanted.value ORDER BY file.no DESC
);

-- name: numbered
-- The numbers of files, the latest first.
SELECT json_group_array(json_array(no, id)) FROM (
  SELECT file.no AS no, file.id AS id
  FROM carray(?1) AS wanted CROSS JOIN file ON file.id = wanted.value ORDER BY file.no DESC
);

-- name: children_of_files
-- What was made from these files.
SELECT json_group_array(json_array(parent.no, child.no))
FROM carray(?1) AS wanted CROSS JOIN file AS parent ON parent.no = wanted.value
CROSS JOIN file AS child ON child.parent = parent.id;

-- name: drop_uploads_of_files
-- Forget how these files came.
DELETE FROM upload WHERE state = 'taken' AND id IN (SELECT id FROM file WHERE no IN (SELECT value FROM carray(?1)));

-- name: free
-- Note that the bytes of these files go.
UPDATE file SET freed_ns = ?2 WHERE no IN (SELECT value FROM carray(?1)) AND freed_ns IS NULL;

-- name: add_garbage
-- Name bytes that are to be removed.
INSERT OR IGNORE INTO garbage (place, name, size) VALUES (?, ?, ?);

-- name: inputs_to_garbage
-- Name the kept inputs of the runs of these files as to be removed.
INSERT OR IGNORE INTO garbage (place, name, size)
SELECT 'content', CAST(run.input AS BLOB), 0
FROM carray(?1) AS wanted CROSS JOIN run ON run.file = wanted.value WHERE run.input IS NOT NULL;

-- name: drop_inputs
-- Forget the kept inputs of the runs of these files.
UPDATE run SET input = NULL WHERE file IN (SELECT value FROM carray(?1)) AND input IS NOT NULL;

-- name: staged_to_garbage
-- Name what the runs of these files staged and nobody will publish as to be removed.
INSERT OR IGNORE INTO garbage (place, name, size)
SELECT 'staged', publication.staged, publication.size
FROM carray(?1) AS wanted CROSS JOIN run ON run.file = wanted.value
CROSS JOIN publication ON publication.run = run.no WHERE publication.state = 'staged';

-- name: drop_staged_of_files
-- Forget what the runs of these files staged and nobody will publish.
DELETE FROM publication
WHERE run IN (SELECT run.no FROM run WHERE file IN (SELECT value FROM carray(?1))) AND state = 'staged';

-- name: keep_versions
-- Remember the versions of those of these files that were taken by copy: they may still lie where they were.
INSERT OR REPLACE INTO kept (source, relative, inode, size, mtime_ns, device, path)
SELECT source, relative, inode, size, mtime_ns, device, path
FROM carray(?1) AS wanted CROSS JOIN file ON file.no = wanted.value WHERE file.how = 'copy';

-- name: drop_tags
-- Forget tags of files.
DELETE FROM file_tag WHERE (tag, file) IN (VALUES (?, ?));

-- name: drop_chunks_of_files
-- Forget the chunks of these files' runs.
DELETE FROM chunk WHERE run IN (SELECT run.no FROM run WHERE file IN (SELECT value FROM carray(?1)));

-- name: drop_publications
-- Forget the outputs of these files' runs.
DELETE FROM publication WHERE run IN (SELECT run.no FROM run WHERE file IN (SELECT value FROM carray(?1)));

-- name: drop_attempts
-- Forget the attempts of these files' runs.
DELETE FROM attempt WHERE run IN (SELECT run.no FROM run WHERE file IN (SELECT value FROM carray(?1)));

-- name: drop_rejects_of_files
-- Forget the bad records of these files' runs.
DELETE FROM reject WHERE run IN (SELECT run.no FROM run WHERE file IN (SELECT value FROM carray(?1)));

-- name: drop_runs
-- Forget the runs of these files.
DELETE FROM run WHERE file IN (SELECT value FROM carray(?1));

-- name: drop_files
-- Forget these files.
DELETE FROM file WHERE no IN (SELECT value FROM carray(?1));

-- name: garbage
-- What is to be removed.
SELECT json_group_array(json_array(place, hex(name), size)) FROM (
  SELECT place, name, size FROM garbage ORDER BY place, name LIMIT ?1
);

-- name: drop_garbage
-- These bytes are gone.
DELETE FROM garbage WHERE (place, name) IN (VALUES (?, ?));

-- name: next_versions
-- Remembered versions behind a key, in the order of their keys.
SELECT json_group_array(json_array(source, hex(relative), inode, size, mtime_ns, device, hex(path))) FROM (
  SELECT * FROM kept WHERE (source, relative, inode, size, mtime_ns) > (?1, ?2, ?3, ?4, ?5)
  ORDER BY source, relative, inode, size, mtime_ns LIMIT ?6
);

-- name: drop_versions
-- Forget versions that lie no longer where they were.
DELETE FROM kept WHERE (source, relative, inode, size, mtime_ns) IN (VALUES (?, ?, ?, ?, ?));

-- name: renumber_device
-- Note another number of the file system of a source's versions.
UPDATE kept SET device = ?3 WHERE source = ?1 AND device = ?2;

-- name: first_minute
-- The first minute at or after ?1 and before ?2 that is not added up.
SELECT min(minute) FROM tally WHERE minute >= ?1 AND minute < ?2 AND minute % 60 <> 0;

-- name: counts_of_hour
-- What was counted in the minutes from ?1 up to, not including, ?2.
SELECT json_group_array(json_array(pipeline, step, sink, outcome, count, records, bytes, hex(coalesce(latency, x''))))
FROM tally WHERE minute >= ?1 AND minute < ?2;

-- name: drop_counts
-- Forget what was counted in the minutes from ?1 up to, not including, ?2.
DELETE FROM tally WHERE minute >= ?1 AND minute < ?2;

-- name: drop_old_counts
-- Forget the oldest counts before a minute.
DELETE FROM tally WHERE (minute, pipeline, step, sink, outcome) IN (
  SELECT minute, pipeline, step, sink, outcome FROM tally WHERE minute < ?1 ORDER BY minute LIMIT ?2
);

-- name: drop_old_causes
-- Forget mended causes of dead letters that no dead run has.
DELETE FROM cause WHERE resolved_ns < ?1
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.state = 'dead' AND run.fingerprint = cause.fingerprint);

-- name: unused_revisions
-- Revisions stored before a moment that no run and no attempt names, but for the latest and the one in force. For one in
-- use it looks at runs up to the first that names it, and these are the oldest; for one that goes, once, at every run.
-- A done run that was leased once has no attempt at another revision than its own.
SELECT json_group_array(number) FROM revision
WHERE at_ns < ?1 AND number < (SELECT max(number) FROM revision)
  AND number IS NOT (SELECT revision FROM activation ORDER BY number DESC LIMIT 1)
  AND number NOT IN (SELECT revision FROM cause)
  AND NOT EXISTS (SELECT 1 FROM run WHERE +run.revision = revision.number)
  AND NOT EXISTS (
    SELECT 1 FROM run CROSS JOIN attempt ON attempt.run = run.no
    WHERE (run.fence > 1 OR run.state <> 'done') AND attempt.revision = revision.number
  );

-- name: latest_count
-- The latest minute in which anything was counted.
SELECT json_array(coalesce(max(minute), 0)) FROM tally;

-- name: drop_activations
-- Forget when these revisions came into force, but for the one that is: that may have changed since they were listed.
DELETE FROM activation WHERE revision IN (SELECT value FROM carray(?1))
  AND revision IS NOT (SELECT revision FROM activation ORDER BY number DESC LIMIT 1);

-- name: drop_revisions
-- Forget these revisions, but for those that came into force and are still known to have done so.
DELETE FROM revision WHERE number IN (SELECT value FROM carray(?1))
  AND number NOT IN (SELECT revision FROM activation);
