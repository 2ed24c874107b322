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
