-- Files that must be processed one after the other: those whose runs have one key in one pipeline (`order_by:`).

ALTER TABLE run ADD COLUMN order_key TEXT NOT NULL DEFAULT ''; -- empty: in no order
CREATE INDEX run_key ON run (pipeline, order_key, file)
  WHERE order_key <> '' AND state IN ('queued', 'running', 'publishing', 'retrying');
CREATE INDEX run_key_in_hand ON run (pipeline, order_key)
  WHERE order_key <> '' AND state IN ('running', 'publishing');
