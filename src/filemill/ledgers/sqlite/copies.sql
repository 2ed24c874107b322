-- name: note_copies
-- Remember which deaths the folder of what failed tells of.
INSERT OR REPLACE INTO failure_copy (subject, died_ns, name, digest) VALUES (?, ?, ?, ?);

-- name: forget_copies
-- Forget copies that are gone from the folder of what failed.
DELETE FROM failure_copy WHERE subject IN (SELECT value FROM carray(?1));
