-- name: sessions_over
-- Forget sessions whose time is over.
DELETE FROM session WHERE expires_ns <= ?1;

-- name: open_session
-- Keep a new session.
INSERT INTO session (id, hash, principal, roles, sources, pipelines, key, how, trust, address, created_ns, used_ns,
  expires_ns)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: session_owners
-- Whose some sessions are, by id.
SELECT json_group_array(json_array(id, principal)) FROM session WHERE id IN (SELECT value FROM carray(?1));

-- name: end_sessions
-- Forget some sessions.
DELETE FROM session WHERE id IN (SELECT value FROM carray(?1));

-- name: use_sessions
-- Note when sessions were used last.
WITH given (id, at_ns) AS (VALUES (?, ?))
UPDATE session SET used_ns = given.at_ns FROM given WHERE session.id = given.id AND session.used_ns < given.at_ns;
