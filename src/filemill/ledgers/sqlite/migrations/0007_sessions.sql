-- Browsers that are logged in. What is ended is forgotten: the audit tells of it.

CREATE TABLE session (
  id         TEXT PRIMARY KEY,
  hash       BLOB NOT NULL UNIQUE, -- SHA-256 of its cookie
  principal  TEXT NOT NULL,
  roles      TEXT NOT NULL,        -- JSON array, as are sources and pipelines
  sources    TEXT NOT NULL,
  pipelines  TEXT NOT NULL,
  key        TEXT NOT NULL,        -- that it was begun with; empty for none
  how        TEXT NOT NULL,        -- `link`, `key` or `oidc`
  trust      TEXT NOT NULL,        -- settings of the identity provider that it was begun under
  address    TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  used_ns    INTEGER NOT NULL,     -- last, to a few seconds
  expires_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_expires ON session (expires_ns);
