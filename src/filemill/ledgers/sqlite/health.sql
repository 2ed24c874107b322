-- name: stored
-- Bytes that the ledger needs: reference, size, sha256, state, and where those of a child are staged until they are moved in.
SELECT content, size, coalesce(lower(hex(digest)), ''), state, iif(parent IS NULL, x'', path) FROM file
WHERE freed_ns IS NULL ORDER BY no;

-- name: inputs
-- Kept inputs of failed steps.
SELECT input FROM run WHERE input IS NOT NULL;

-- name: stored_count
-- How many bytes, and of how many files, the ledger needs.
SELECT count(*), coalesce(sum(size), 0) FROM file WHERE freed_ns IS NULL;

-- name: latest_revision
-- The latest configuration.
SELECT number, digest, text FROM revision ORDER BY number DESC LIMIT 1;

-- name: live
-- How many files have runs, or wait for some, that are not at an end.
SELECT (SELECT count(*) FROM file WHERE disposed_ns IS NULL AND state IN ('claiming', 'ingested'))
     + (SELECT count(DISTINCT file) FROM run WHERE state IN ('queued', 'running', 'publishing', 'retrying'));

-- name: lost
-- Note that the bytes of a file that is at an end are not there.
UPDATE file SET freed_ns = ?2
WHERE content = ?1 AND freed_ns IS NULL AND state NOT IN ('claiming', 'ingested')
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no
                  AND run.state IN ('queued', 'running', 'publishing', 'retrying'));

-- name: tags_of_nobody
-- Tags whose file is not known.
SELECT count(*) FROM file_tag WHERE NOT EXISTS (SELECT 1 FROM file WHERE file.no = file_tag.file);

-- name: named
-- Every content reference that a row names.
SELECT content FROM file UNION ALL SELECT input FROM run WHERE input IS NOT NULL
UNION ALL SELECT CAST(name AS TEXT) FROM garbage WHERE place = 'content';

-- name: forget_sessions
-- Forget every session: a restored ledger may know some that were ended since.
DELETE FROM session;
