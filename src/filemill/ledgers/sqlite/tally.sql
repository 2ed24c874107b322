-- name: read_tally
-- The rows of these keys as they are.
WITH given (i, minute, pipeline, step, sink, outcome) AS (VALUES (?, ?, ?, ?, ?, ?))
SELECT json_group_array(json_array(given.i, tally.count, tally.records, tally.bytes,
                                   hex(coalesce(tally.latency, x''))))
FROM given CROSS JOIN tally ON tally.minute = given.minute AND tally.pipeline = given.pipeline
  AND tally.step = given.step AND tally.sink = given.sink AND tally.outcome = given.outcome;

-- name: write_tally
-- Set the rows of these keys.
INSERT OR REPLACE INTO tally (minute, pipeline, step, sink, outcome, count, records, bytes, latency)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
