-- name: open_upload
-- Remember an upload that begins, unless its id or its key is known.
INSERT INTO upload (id, principal, key, source, relative, tags, state, offset, length, digest, at_ns, expires_ns)
VALUES (?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: note_offset
-- Note how many bytes of an upload are synced, and until when more may come.
UPDATE upload SET offset = ?4, length = coalesce(length, ?5), expires_ns = max(expires_ns, ?6)
WHERE id = ?1 AND principal = ?2 AND offset = ?3 AND state = 'open';

-- name: upload_taken
-- Note that an upload is a file now.
UPDATE upload SET state = 'taken', offset = coalesce(?3, length, offset), length = coalesce(?3, length, offset)
WHERE id = ?1 AND principal = ?2 AND state = 'open';

-- name: forget_upload
-- Forget an upload that is not to be gone on with.
DELETE FROM upload WHERE id = ?1 AND principal = ?2 AND state = 'open';

-- name: uploads_over
-- Find uploads whose time is over.
SELECT json_group_array(id) FROM upload WHERE expires_ns <= ?1;

-- name: forget_uploads
-- Forget uploads whose time is over.
DELETE FROM upload WHERE expires_ns <= ?1;

-- name: open_uploads
-- Find uploads that may be gone on with.
SELECT json_group_array(id) FROM upload WHERE state = 'open';
