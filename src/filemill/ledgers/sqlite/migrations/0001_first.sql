-- The ledger's first shape. The same names and columns exist in every dialect.
-- `no` columns are this ledger's own small numbers and order of arrival; `id` columns are what people and
-- other machines see. Names and paths are BLOBs: they are bytes, not text. Times are nanoseconds since the
-- epoch, UTC. Device and inode numbers are stored as the signed twin of the same 64 bits.
-- Indexes that every move touches are partial, over what is live, so that a move costs the same
-- with a million finished files as with none.

CREATE TABLE revision (
  number INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  text   TEXT NOT NULL,
  at_ns  INTEGER NOT NULL
) STRICT;

CREATE TABLE file (
  no           INTEGER PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,
  state        TEXT NOT NULL,
  state_ns     INTEGER NOT NULL,
  source       TEXT NOT NULL,
  path         BLOB NOT NULL,
  relative     BLOB NOT NULL,
  device       INTEGER NOT NULL,
  inode        INTEGER NOT NULL,
  size         INTEGER NOT NULL,
  mtime_ns     INTEGER NOT NULL,
  content      TEXT NOT NULL,
  claimed_ns   INTEGER NOT NULL,
  ingested_ns  INTEGER,
  how          TEXT NOT NULL,
  after        TEXT NOT NULL,
  priority     INTEGER NOT NULL,
  parent       TEXT,
  given        TEXT NOT NULL,            -- tags its source gave, joined by spaces
  tags         TEXT NOT NULL DEFAULT '', -- all its tags, joined by spaces
  digest       BLOB,                     -- sha256
  media        TEXT NOT NULL DEFAULT '',
  attributes   TEXT NOT NULL DEFAULT '{}',
  facts        BLOB,                     -- msgpack: tags and why, header
  reason       TEXT NOT NULL DEFAULT '', -- why held, rejected, quarantined or discarded
  duplicate_of TEXT,
  disposed_ns  INTEGER
) STRICT;
CREATE INDEX file_open ON file (state, no) WHERE disposed_ns IS NULL;
CREATE INDEX file_copied ON file (source, relative) WHERE how = 'copy';
CREATE INDEX file_digest ON file (substr(digest, 1, 8)) WHERE digest IS NOT NULL;
CREATE INDEX file_name ON file (no, relative); -- all names in order of arrival, apart from the wide rows
CREATE INDEX file_arrived ON file (claimed_ns);
CREATE INDEX file_parent ON file (parent) WHERE parent IS NOT NULL;
CREATE INDEX file_twin ON file (duplicate_of) WHERE duplicate_of IS NOT NULL;

CREATE TABLE file_tag (
  tag  TEXT NOT NULL,
  file INTEGER NOT NULL REFERENCES file (no),
  PRIMARY KEY (tag, file)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
  no            INTEGER PRIMARY KEY,
  id            TEXT NOT NULL UNIQUE,
  file          INTEGER NOT NULL REFERENCES file (no),
  pipeline      TEXT NOT NULL,
  revision      INTEGER NOT NULL,
  priority      INTEGER NOT NULL,
  state         TEXT NOT NULL,
  state_ns      INTEGER NOT NULL,
  queued_ns     INTEGER NOT NULL,
  began_ns      INTEGER,                -- when its latest attempt began
  fence         INTEGER NOT NULL DEFAULT 0,
  attempt       INTEGER NOT NULL DEFAULT 0,
  interruptions INTEGER NOT NULL DEFAULT 0,
  solo          INTEGER NOT NULL DEFAULT 0,
  due_ns        INTEGER,
  records       INTEGER NOT NULL DEFAULT 0,
  bad           INTEGER NOT NULL DEFAULT 0,
  fingerprint   TEXT,                   -- of its latest failure, as are step, error and message
  step          TEXT,
  error         TEXT,
  message       TEXT,
  input         TEXT                    -- content reference of the failed step's kept input
) STRICT;
CREATE INDEX run_file ON run (file);
CREATE INDEX run_pipeline ON run (pipeline, file);
CREATE INDEX run_live ON run (state, priority DESC, file, pipeline)
  WHERE state IN ('queued', 'running', 'publishing', 'retrying');
CREATE INDEX run_due ON run (priority DESC, due_ns) WHERE state = 'retrying';
CREATE INDEX run_ended ON run (state, file, pipeline)
  WHERE state IN ('dead', 'held', 'cancelled', 'discarded');
CREATE INDEX run_group ON run (fingerprint, file) WHERE state = 'dead';
CREATE INDEX run_input ON run (input) WHERE input IS NOT NULL;

CREATE TABLE chunk (
  run          INTEGER NOT NULL REFERENCES run (no),
  number       INTEGER NOT NULL,
  fence        INTEGER NOT NULL,
  state        TEXT NOT NULL,
  start        INTEGER NOT NULL,
  end          INTEGER NOT NULL,
  first_record INTEGER NOT NULL,
  first_line   INTEGER NOT NULL,
  checkpoint   BLOB,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE publication (
  run      INTEGER NOT NULL REFERENCES run (no),
  id       TEXT NOT NULL,
  fence    INTEGER NOT NULL,
  sink     TEXT NOT NULL,
  name     BLOB NOT NULL,
  staged   BLOB NOT NULL,
  device   INTEGER NOT NULL,
  inode    INTEGER NOT NULL,
  size     INTEGER NOT NULL,
  digest   TEXT NOT NULL,
  records  INTEGER NOT NULL,
  mode     TEXT NOT NULL,
  state    TEXT NOT NULL,
  state_ns INTEGER NOT NULL,
  PRIMARY KEY (run, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX publication_staged ON publication (id) WHERE state = 'staged';

CREATE TABLE attempt (
  run      INTEGER NOT NULL REFERENCES run (no),
  fence    INTEGER NOT NULL,
  number   INTEGER NOT NULL,
  began_ns INTEGER NOT NULL,
  ended_ns INTEGER NOT NULL,
  outcome  TEXT NOT NULL,
  facts    BLOB NOT NULL, -- msgpack: steps, times, counts
  failure  BLOB,          -- msgpack
  PRIMARY KEY (run, fence)
) STRICT, WITHOUT ROWID;

CREATE TABLE reject (
  run     INTEGER NOT NULL REFERENCES run (no),
  number  INTEGER NOT NULL,
  step    TEXT NOT NULL,
  record  INTEGER NOT NULL,
  line    INTEGER NOT NULL,
  start   INTEGER NOT NULL,
  end     INTEGER NOT NULL,
  error   TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally (
  minute   INTEGER NOT NULL, -- minutes since the epoch
  pipeline TEXT NOT NULL,
  step     TEXT NOT NULL,
  sink     TEXT NOT NULL,
  outcome  TEXT NOT NULL,
  count    INTEGER NOT NULL,
  records  INTEGER NOT NULL,
  bytes    INTEGER NOT NULL,
  latency  BLOB,             -- msgpack: histogram bucket -> count
  PRIMARY KEY (minute, pipeline, step, sink, outcome)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload (
  id        TEXT PRIMARY KEY,
  principal TEXT NOT NULL,
  key       TEXT NOT NULL,
  state     TEXT NOT NULL,
  offset    INTEGER NOT NULL,
  length    INTEGER,
  at_ns     INTEGER NOT NULL,
  UNIQUE (principal, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE principal (
  id    TEXT PRIMARY KEY,
  name  TEXT NOT NULL UNIQUE,
  role  TEXT NOT NULL,
  at_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  number    INTEGER PRIMARY KEY,
  at_ns     INTEGER NOT NULL,
  principal TEXT NOT NULL,
  action    TEXT NOT NULL,
  object    TEXT NOT NULL,
  detail    TEXT NOT NULL
) STRICT;
