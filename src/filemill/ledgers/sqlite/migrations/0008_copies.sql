-- A copy in the folder of what failed is known by its digest, so that it can be told from one that somebody changed
-- after its original is gone.

ALTER TABLE failure_copy ADD COLUMN digest TEXT NOT NULL DEFAULT ''; -- sha256, hex; empty: of a former version, or no bytes
