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
-- When the earliest retry of one lane is due.
SELECT min(due_ns) FROM run WHERE state = 'retrying' AND priority = ?1 AND source = ?2 AND pipeline = ?3;
