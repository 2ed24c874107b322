-- name: top
-- The highest priority below a given one among runs in one state.
SELECT max(priority) FROM run
WHERE state = ?1 AND state IN ('queued', 'running', 'publishing', 'retrying') AND priority < ?2;

-- name: lanes
-- Each (source, pipeline) that has runs of one state and priority: one step in the index each, however many runs it has.
WITH RECURSIVE lane (source, pipeline) AS (
  SELECT * FROM (
    SELECT source, pipeline FROM run
    WHERE state = ?1 AND state IN ('queued', 'running', 'publishing', 'retrying') AND priority = ?2
    ORDER BY source, pipeline LIMIT 1
  )
  UNION ALL
  SELECT run.source, run.pipeline FROM lane CROSS JOIN run ON run.no = coalesce(
    (SELECT later.no FROM run AS later
     WHERE later.state = ?1 AND later.state IN ('queued', 'running', 'publishing', 'retrying')
       AND later.priority = ?2 AND later.source = lane.source AND later.pipeline > lane.pipeline
     ORDER BY later.pipeline LIMIT 1),
    (SELECT later.no FROM run AS later
     WHERE later.state = ?1 AND later.state IN ('queued', 'running', 'publishing', 'retrying')
       AND later.priority = ?2 AND later.source > lane.source
     ORDER BY later.source, later.pipeline LIMIT 1)
  )
)
SELECT json_group_array(json_array(source, pipeline)) FROM lane;

-- name: queued
-- The next queued runs of one lane, oldest first.
SELECT json_group_array(json_array(file, no)) FROM (
  SELECT file, no FROM run
  WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying')
    AND priority = ?1 AND source = ?2 AND pipeline = ?3
  ORDER BY file LIMIT ?4 OFFSET ?5
);

-- name: due
-- The next runs of one lane whose retry is due, the longest due first.
SELECT json_group_array(json_array(file, no)) FROM (
  SELECT file, no FROM run
  WHERE state = 'retrying' AND priority = ?1 AND source = ?2 AND pipeline = ?3 AND due_ns <= ?6
  ORDER BY due_ns LIMIT ?4 OFFSET ?5
);

-- name: next_due
-- When the earliest retry of one lane is due, of runs whose turn it is within their key.
SELECT due_ns FROM run
WHERE state = 'retrying' AND priority = ?1 AND source = ?2 AND pipeline = ?3 AND (
  order_key = '' OR file < ?4 AND no = (
    SELECT first.no FROM run AS first INDEXED BY run_key
    WHERE first.order_key <> '' AND first.state IN ('queued', 'running', 'publishing', 'retrying')
      AND first.pipeline = run.pipeline AND first.order_key = run.order_key
    ORDER BY first.file, first.no LIMIT 1
  ) AND NOT EXISTS (
      SELECT 1 FROM run AS hand INDEXED BY run_key_in_hand
      WHERE hand.order_key <> '' AND hand.state IN ('running', 'publishing')
        AND hand.pipeline = run.pipeline AND hand.order_key = run.order_key
    )
)
ORDER BY due_ns LIMIT 1;

-- name: ordered
-- Pipelines that have runs with an order key: one step in the index each.
WITH RECURSIVE ordered (pipeline) AS (
  SELECT min(pipeline) FROM run INDEXED BY run_key
  WHERE order_key <> '' AND state IN ('queued', 'running', 'publishing', 'retrying')
  UNION ALL
  SELECT (
    SELECT min(pipeline) FROM run INDEXED BY run_key
    WHERE order_key <> '' AND state IN ('queued', 'running', 'publishing', 'retrying')
      AND run.pipeline > ordered.pipeline
  ) FROM ordered WHERE ordered.pipeline IS NOT NULL
)
SELECT json_group_array(pipeline) FROM ordered WHERE pipeline IS NOT NULL;

-- name: first_unrouted
-- The first file of which nobody knows yet where it will go.
SELECT min(no) FROM file WHERE disposed_ns IS NULL AND state IN ('claiming', 'ingested');

-- name: heads
-- Keys of one pipeline behind ?2 and up to ?3, each with its first run, where that waits and nobody works on the key.
WITH RECURSIVE head (key) AS (
  SELECT min(order_key) FROM run INDEXED BY run_key
  WHERE order_key <> '' AND state IN ('queued', 'running', 'publishing', 'retrying')
    AND pipeline = ?1 AND order_key > ?2 AND order_key <= ?3
  UNION ALL
  SELECT (
    SELECT min(order_key) FROM run INDEXED BY run_key
    WHERE order_key <> '' AND state IN ('queued', 'running', 'publishing', 'retrying')
      AND pipeline = ?1 AND order_key > head.key AND order_key <= ?3
  ) FROM head WHERE head.key IS NOT NULL
)
SELECT json_group_array(json_array(file, no, source, key)) FROM (
  SELECT run.file, run.no, run.source, head.key FROM head CROSS JOIN run ON run.no = (
    SELECT first.no FROM run AS first INDEXED BY run_key
    WHERE first.order_key <> '' AND first.state IN ('queued', 'running', 'publishing', 'retrying')
      AND first.pipeline = ?1 AND first.order_key = head.key
    ORDER BY first.file, first.no LIMIT 1
  )
  WHERE head.key IS NOT NULL AND run.priority = ?4 AND run.file < ?5
    AND (run.state = 'queued' OR run.state = 'retrying' AND run.due_ns <= ?6)
    AND NOT EXISTS (
      SELECT 1 FROM run AS hand INDEXED BY run_key_in_hand
      WHERE hand.order_key <> '' AND hand.state IN ('running', 'publishing')
        AND hand.pipeline = run.pipeline AND hand.order_key = run.order_key
    )
  LIMIT ?7
);

-- name: queued_free
-- As `queued`, of a pipeline in order: those few that came before it was, and have no key. They are the oldest.
SELECT json_group_array(json_array(file, no)) FROM (
  SELECT file, no, order_key FROM run
  WHERE state = 'queued' AND state IN ('queued', 'running', 'publishing', 'retrying')
    AND priority = ?1 AND source = ?2 AND pipeline = ?3
  ORDER BY file LIMIT ?4 OFFSET ?5
) WHERE order_key = '';

-- name: due_free
-- The same of `due`.
SELECT json_group_array(json_array(file, no)) FROM (
  SELECT file, no, order_key FROM run
  WHERE state = 'retrying' AND priority = ?1 AND source = ?2 AND pipeline = ?3 AND due_ns <= ?6
  ORDER BY due_ns LIMIT ?4 OFFSET ?5
) WHERE order_key = '';
