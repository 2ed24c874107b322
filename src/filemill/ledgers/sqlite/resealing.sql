-- name: move_file
-- The bytes of a file, whose id is in the reference, are under another one.
UPDATE file SET content = ?2 WHERE id = ?3 AND content = ?1;

-- name: move_input
-- A kept input is under another reference.
UPDATE run SET input = ?2 WHERE input = ?1;

-- name: move_file_at_rest
-- The same, of a file that nobody has in hand: neither is it looked at nor does a worker have a run of it.
UPDATE file SET content = ?2 WHERE id = ?3 AND content = ?1 AND state NOT IN ('claiming', 'ingested')
AND NOT EXISTS (SELECT 1 FROM run WHERE run.file = file.no AND run.state = 'running');

-- name: move_input_at_rest
-- The same of a kept input, unless a worker has the run.
UPDATE run SET input = ?2 WHERE input = ?1 AND state <> 'running';

-- name: add_garbage
-- Name bytes that are to be removed.
INSERT OR IGNORE INTO garbage (place, name, size) VALUES ('content', CAST(?1 AS BLOB), 0);

-- name: newest_run
-- The number of the latest run.
SELECT coalesce(max(no), 0) FROM run;

-- name: newest_file
-- The number of the latest file.
SELECT coalesce(max(no), 0) FROM file;

-- name: messages
-- Messages of runs behind a number.
SELECT no, message FROM run WHERE no > ?1 AND no <= ?2 AND message != '';

-- name: set_message
-- Another wording of a run's message.
UPDATE run SET message = ?2 WHERE no = ?1;

-- name: reasons
-- Reasons of files behind a number.
SELECT no, reason FROM file WHERE no > ?1 AND no <= ?2 AND reason != '';

-- name: set_reason
-- Another wording of a file's reason.
UPDATE file SET reason = ?2 WHERE no = ?1;

-- name: rejects
-- Messages of the bad records of these runs.
SELECT run, number, message FROM reject WHERE run > ?1 AND run <= ?2 AND message != '';

-- name: set_reject
-- Another wording of a bad record's message.
UPDATE reject SET message = ?3 WHERE run = ?1 AND number = ?2;

-- name: attempts
-- What is packed of the attempts of these runs.
SELECT run, fence, facts, failure FROM attempt WHERE run > ?1 AND run <= ?2;

-- name: set_attempt
-- Another wording of what is packed of an attempt.
UPDATE attempt SET facts = ?3, failure = ?4 WHERE run = ?1 AND fence = ?2;
