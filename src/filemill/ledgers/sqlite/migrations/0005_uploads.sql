-- Uploads that come in parts, as they are gone on with.

DROP TABLE upload;
CREATE TABLE upload (
  id         TEXT PRIMARY KEY,
  principal  TEXT NOT NULL,
  key        TEXT NOT NULL,    -- under which its sender finds it again; empty for none
  source     TEXT NOT NULL,
  relative   BLOB NOT NULL,
  tags       TEXT NOT NULL,    -- JSON
  state      TEXT NOT NULL,    -- `open` or `taken`
  offset     INTEGER NOT NULL, -- bytes that are synced
  length     INTEGER,          -- of the whole; null while nobody has said it
  digest     TEXT NOT NULL,    -- sha256 that the whole must have; empty for any
  at_ns      INTEGER NOT NULL,
  expires_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX upload_key ON upload (principal, key) WHERE key <> '';
CREATE INDEX upload_expires ON upload (expires_ns);
