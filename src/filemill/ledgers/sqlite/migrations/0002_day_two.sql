-- What people do: redrive, release, replay, pause, and what is remembered of it.

ALTER TABLE run ADD COLUMN from_step TEXT;                       -- begins at this step, with `input`; null: with the file
ALTER TABLE run ADD COLUMN released TEXT NOT NULL DEFAULT '{}';  -- JSON: id of a `hold` step -> the answer a person gave
ALTER TABLE run ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;    -- runs at its own revision, not at the current one
ALTER TABLE run ADD COLUMN replays TEXT;                         -- id of the run that this one does again
ALTER TABLE run ADD COLUMN supersede INTEGER NOT NULL DEFAULT 0; -- its outputs take the places of that run's
ALTER TABLE run ADD COLUMN insists INTEGER NOT NULL DEFAULT 0;   -- begins at from_step or not at all; else the file will do
ALTER TABLE publication ADD COLUMN over_size INTEGER NOT NULL DEFAULT 0; -- with mode `supersede`: of the bytes whose
ALTER TABLE publication ADD COLUMN over_digest TEXT NOT NULL DEFAULT ''; -- place it takes, size and sha256
ALTER TABLE run ADD COLUMN mended TEXT;                          -- id of the file a person made in its place, or of its bad records

CREATE TABLE pause ( -- pipelines that are not leased
  pipeline  TEXT PRIMARY KEY,
  at_ns     INTEGER NOT NULL,
  principal TEXT NOT NULL,
  reason    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cause ( -- groups of dead letters that a person called mended
  fingerprint TEXT PRIMARY KEY,
  resolved_ns INTEGER NOT NULL,
  revision    INTEGER NOT NULL,
  principal   TEXT NOT NULL,
  reason      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE attempt ADD COLUMN revision INTEGER NOT NULL DEFAULT 0; -- the configuration it ran at
UPDATE attempt SET revision = (SELECT revision FROM run WHERE run.no = attempt.run);

CREATE TABLE activation ( -- when each configuration came into force: at a start, or by a reload
  number   INTEGER PRIMARY KEY,
  at_ns    INTEGER NOT NULL,
  revision INTEGER NOT NULL REFERENCES revision (number),
  how      TEXT NOT NULL -- `start` or `reload`
) STRICT;

CREATE TABLE refusal ( -- the last configuration that was not taken, until one is; at most one row
  number INTEGER PRIMARY KEY CHECK (number = 1),
  at_ns  INTEGER NOT NULL,
  why    TEXT NOT NULL -- its problems, as they are shown
) STRICT;

CREATE INDEX audit_object ON audit (object);

CREATE TABLE failure_copy ( -- copies in the folder of what failed, one for each death
  subject TEXT PRIMARY KEY, -- id of the dead run, or of the rejected file
  died_ns INTEGER NOT NULL, -- the death that it tells of
  name    TEXT NOT NULL     -- of the copy
) STRICT, WITHOUT ROWID;

-- Leasing goes round over sources within a priority, and around pipelines that are paused or whose sink is broken: each
-- (source, pipeline) is a lane of its own in these indexes, so that a lease costs the same with a million rows in one.
ALTER TABLE run ADD COLUMN source TEXT NOT NULL DEFAULT ''; -- its file's
ALTER TABLE run ADD COLUMN tries INTEGER;                   -- how many its policy allows, as of its latest failure
UPDATE run SET source = (SELECT source FROM file WHERE file.no = run.file);
DROP INDEX run_live;
DROP INDEX run_due;
CREATE INDEX run_live ON run (state, priority DESC, source, pipeline, file)
  WHERE state IN ('queued', 'running', 'publishing', 'retrying');
CREATE INDEX run_due ON run (priority DESC, source, pipeline, due_ns) WHERE state = 'retrying';

-- What came to an end, in the order of time: `tail` reads along here. Each is written once in a run's life, at its end.
CREATE INDEX run_end ON run (state_ns) WHERE state IN ('done', 'dead', 'held', 'cancelled', 'discarded');
CREATE INDEX file_end ON file (state_ns) WHERE state IN ('held', 'rejected', 'quarantined', 'cancelled', 'discarded');

-- What retention needs: to find what is old, to forget it, and to remember what must not be taken again.

ALTER TABLE file ADD COLUMN freed_ns INTEGER; -- since when its bytes are not in content any more
UPDATE file SET freed_ns = disposed_ns WHERE disposed_ns IS NOT NULL AND after <> 'archive';
CREATE INDEX file_stored ON file (no) WHERE freed_ns IS NULL;

CREATE TABLE garbage ( -- bytes that no other row needs, named here until they are gone: ledger first, unlink second
  place TEXT NOT NULL, -- content: `name` is a reference; staged: the absolute path of an output nobody will publish
  name  BLOB NOT NULL,
  size  INTEGER NOT NULL,
  PRIMARY KEY (place, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE kept ( -- versions of paths that were taken by copy, whose rows are gone, and that may still lie there
  source   TEXT NOT NULL,
  relative BLOB NOT NULL,
  inode    INTEGER NOT NULL,
  size     INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  device   INTEGER NOT NULL,
  path     BLOB NOT NULL,
  PRIMARY KEY (source, relative, inode, size, mtime_ns)
) STRICT, WITHOUT ROWID;

-- Made anew without its reference to `file`: with it, each file that goes makes SQLite look through all tags.
CREATE TABLE tag_of_file (
  tag  TEXT NOT NULL,
  file INTEGER NOT NULL, -- number of the file
  PRIMARY KEY (tag, file)
) STRICT, WITHOUT ROWID;
INSERT INTO tag_of_file SELECT tag, file FROM file_tag;
DROP TABLE file_tag;
ALTER TABLE tag_of_file RENAME TO file_tag;
