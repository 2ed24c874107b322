-- name: head
-- Number and chain of the last row of the audit; of the anchor where retention removed them all.
SELECT coalesce(
  (SELECT json_array(number, hex(chain)) FROM audit ORDER BY number DESC LIMIT 1),
  (SELECT json_array(number, hex(chain)) FROM audit_anchor), json_array(0, hex(zeroblob(32))));

-- name: add_audit
-- Write into the audit who did what to what.
INSERT INTO audit (number, at_ns, principal, action, object, detail, chain) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: oldest_before
-- The last of the oldest ?2 rows of the audit before which, and with it, all were written before ?1.
SELECT max(number) FROM (SELECT number FROM audit ORDER BY number LIMIT ?2) AS oldest
WHERE number < coalesce((
  SELECT min(number) FROM (SELECT number, at_ns FROM audit ORDER BY number LIMIT ?2) AS looked_at WHERE at_ns >= ?1
), 9223372036854775807);

-- name: move_anchor
-- Keep the chain of a row of the audit: it and those before it may go.
INSERT INTO audit_anchor (one, number, chain, rows, at_ns)
SELECT 1, number, chain, (SELECT count(*) FROM audit WHERE number <= ?1), at_ns FROM audit WHERE number = ?1
ON CONFLICT (one) DO UPDATE
SET number = excluded.number, chain = excluded.chain, rows = rows + excluded.rows, at_ns = excluded.at_ns;

-- name: drop_audit
-- Remove the rows of the audit that its anchor stands for.
DELETE FROM audit WHERE number <= (SELECT number FROM audit_anchor);

-- name: name_in_force
-- Whether a key of this name is in force at a moment.
SELECT EXISTS (
  SELECT 1 FROM principal WHERE name = ?1 AND revoked_ns IS NULL AND (expires_ns IS NULL OR expires_ns > ?2)
);

-- name: add_key
-- Keep a new key.
INSERT INTO principal (id, name, roles, sources, pipelines, hash, created_ns, created_by, expires_ns)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: keys_called
-- Keys that are not revoked, by id or name.
SELECT json_group_array(json_array(id, name)) FROM principal
WHERE revoked_ns IS NULL AND (id IN (SELECT value FROM carray(?1)) OR name IN (SELECT value FROM carray(?1)));

-- name: revoke_keys
-- Put keys out of force.
UPDATE principal SET revoked_ns = ?2 WHERE id IN (SELECT value FROM carray(?1)) AND revoked_ns IS NULL;

-- name: use_keys
-- Note when keys were used last.
WITH given (id, at_ns) AS (VALUES (?, ?))
UPDATE principal SET used_ns = given.at_ns
FROM given WHERE principal.id = given.id AND coalesce(principal.used_ns, 0) < given.at_ns;
