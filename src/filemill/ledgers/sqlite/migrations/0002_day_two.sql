-- What people do: redrive, release, replay, pause, and what is remembered of it.

ALTER TABLE run ADD COLUMN from_step TEXT;                       -- begins at this step, with `input`; null: with the file
ALTER TABLE run ADD COLUMN released TEXT NOT NULL DEFAULT '{}';  -- JSON: id of a `hold` step -> the answer a person gave
ALTER TABLE run ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;    -- runs at its own revision, not at the current one
ALTER TABLE run ADD COLUMN replays TEXT;                         -- id of the run that this one does again
ALTER TABLE run ADD COLUMN supersede INTEGER NOT NULL DEFAULT 0; -- its outputs take the places of that run's
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
