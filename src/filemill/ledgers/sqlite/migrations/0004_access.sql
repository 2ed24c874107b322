-- Who may ask for what, who sent a file, and an audit that shows when somebody changed it.

DROP TABLE principal; -- nothing ever wrote it
CREATE TABLE principal (    -- keys; a revoked one stays, so that the audit can be read
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  roles      TEXT NOT NULL, -- JSON array, as are sources and pipelines
  sources    TEXT NOT NULL,
  pipelines  TEXT NOT NULL,
  hash       BLOB NOT NULL, -- of its secret, keyed with the pepper of the data directory
  created_ns INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_ns INTEGER,
  used_ns    INTEGER,       -- last, to the minute or so
  revoked_ns INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX principal_name ON principal (name);

ALTER TABLE file ADD COLUMN principal TEXT NOT NULL DEFAULT ''; -- who sent it; empty: nobody did, it was found
CREATE INDEX file_principal ON file (principal, no) WHERE principal <> '';

-- Each row's chain is SHA-256 of the former row's chain and of the row: see model/auditing.py.
ALTER TABLE audit ADD COLUMN chain BLOB NOT NULL DEFAULT x'';
WITH RECURSIVE linked (number, chain) AS (
  SELECT number, audit_chain(zeroblob(32), number, at_ns, principal, action, object, detail)
  FROM audit WHERE number = (SELECT min(number) FROM audit)
  UNION ALL
  SELECT next.number,
    audit_chain(linked.chain, next.number, next.at_ns, next.principal, next.action, next.object, next.detail)
  FROM linked CROSS JOIN audit AS next
  WHERE next.number = (SELECT min(later.number) FROM audit AS later WHERE later.number > linked.number)
)
UPDATE audit SET chain = linked.chain FROM linked WHERE audit.number = linked.number;

CREATE TABLE audit_anchor (     -- what retention left of the rows that it removed; at most one row
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  number INTEGER NOT NULL,      -- of the last row that may go
  chain  BLOB NOT NULL,         -- of that row: what the next one goes on from
  rows   INTEGER NOT NULL,      -- how many went, all in all
  at_ns  INTEGER NOT NULL       -- when that row was written
) STRICT;

CREATE TRIGGER audit_grows BEFORE INSERT ON audit
WHEN length(NEW.chain) <> 32
  OR NEW.number <= max(coalesce((SELECT max(number) FROM audit), 0), coalesce((SELECT number FROM audit_anchor), 0))
BEGIN SELECT RAISE(ABORT, 'the audit only grows, at its end'); END;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit WHEN OLD.number > coalesce((SELECT number FROM audit_anchor), 0)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_anchor_begins BEFORE INSERT ON audit_anchor
WHEN NOT EXISTS (SELECT 1 FROM audit WHERE number = NEW.number AND chain = NEW.chain)
BEGIN SELECT RAISE(ABORT, 'the anchor of the audit is the chain of one of its rows'); END;
CREATE TRIGGER audit_anchor_moves BEFORE UPDATE ON audit_anchor
WHEN NEW.number <= OLD.number OR NOT EXISTS (SELECT 1 FROM audit WHERE number = NEW.number AND chain = NEW.chain)
BEGIN SELECT RAISE(ABORT, 'the anchor of the audit is the chain of one of its rows'); END;
CREATE TRIGGER audit_anchor_stays BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
