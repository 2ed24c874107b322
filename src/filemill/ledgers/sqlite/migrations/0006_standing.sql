-- How many files and runs are where, kept in the commit of each move: nobody has to count them.
-- What is kept is the moves, so that one row is changed per move, and so that what ever happened only grows. How many are
-- somewhere now is what came there less what left. Triggers do it: no statement, and nobody with a shell, can forget to.
-- `live` is one place: what goes from a queue to a worker and on changes no row here. The few that are with workers
-- are found by index.

CREATE TABLE standing (
  kind     TEXT NOT NULL,    -- file: its one word; run; freed: bytes of files given up; replay: runs that do another one again
  source   TEXT NOT NULL,
  pipeline TEXT NOT NULL,    -- empty for files
  before   TEXT NOT NULL,    -- empty: it was not there
  after    TEXT NOT NULL,    -- empty: it is gone
  count    INTEGER NOT NULL,
  bytes    INTEGER NOT NULL, -- of the files, where they are what moved
  PRIMARY KEY (kind, source, pipeline, before, after)
) STRICT, WITHOUT ROWID;

-- A file counts from its acknowledgement on: live, until it or all its runs are at an end; then under the worst of these.
INSERT INTO standing
SELECT 'file', source, '', '', word, count(*), sum(size) FROM (
  SELECT source, size, CASE state
    WHEN 'ingested' THEN 'live'
    WHEN 'inspected' THEN CASE (
      SELECT min(CASE state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                            WHEN 'discarded' THEN 4 ELSE 0 END)
      FROM run WHERE run.file = file.no
    ) WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded' WHEN 5 THEN 'done'
      ELSE 'live' END
    ELSE state END AS word
  FROM file WHERE state <> 'claiming'
) GROUP BY source, word;
INSERT INTO standing
SELECT 'run', source, pipeline, '', word, count(*), 0 FROM (
  SELECT source, pipeline, CASE state WHEN 'queued' THEN 'live' WHEN 'running' THEN 'live'
    WHEN 'publishing' THEN 'live' ELSE state END AS word
  FROM run
) GROUP BY source, pipeline, word;
INSERT INTO standing
SELECT 'freed', source, '', '', '', count(*), sum(size) FROM file
WHERE freed_ns IS NOT NULL AND state <> 'claiming' GROUP BY source;
INSERT INTO standing
SELECT 'replay', source, pipeline, '', 'replay', count(*), 0 FROM run
WHERE replays IS NOT NULL GROUP BY source, pipeline;

CREATE TRIGGER file_comes AFTER INSERT ON file WHEN NEW.state <> 'claiming'
BEGIN
  INSERT INTO standing
  VALUES ('file', NEW.source, '', '', iif(NEW.state = 'ingested' OR NEW.state = 'inspected', 'live', NEW.state), 1, NEW.size)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
  INSERT INTO standing SELECT 'freed', NEW.source, '', '', '', 1, NEW.size WHERE NEW.freed_ns IS NOT NULL
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER file_moves AFTER UPDATE OF state ON file
WHEN CASE OLD.state WHEN 'claiming' THEN '' WHEN 'ingested' THEN 'live' WHEN 'inspected' THEN 'live' ELSE OLD.state END
  <> CASE NEW.state WHEN 'claiming' THEN '' WHEN 'ingested' THEN 'live' WHEN 'inspected' THEN 'live' ELSE NEW.state END
BEGIN
  INSERT INTO standing
  VALUES ('file', NEW.source, '',
    CASE OLD.state WHEN 'claiming' THEN '' WHEN 'ingested' THEN 'live' WHEN 'inspected' THEN 'live' ELSE OLD.state END,
    CASE NEW.state WHEN 'claiming' THEN '' WHEN 'ingested' THEN 'live' WHEN 'inspected' THEN 'live' ELSE NEW.state END,
    1, NEW.size)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER file_is_freed AFTER UPDATE OF freed_ns ON file
WHEN OLD.freed_ns IS NULL AND NEW.freed_ns IS NOT NULL AND NEW.state <> 'claiming'
BEGIN
  INSERT INTO standing VALUES ('freed', NEW.source, '', '', '', 1, NEW.size)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER file_goes AFTER DELETE ON file WHEN OLD.state <> 'claiming'
BEGIN
  INSERT INTO standing
  VALUES ('file', OLD.source, '', iif(OLD.state = 'ingested' OR OLD.state = 'inspected', 'live', OLD.state), '', 1, OLD.size)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
  INSERT INTO standing SELECT 'freed', OLD.source, '', '', '', 1, OLD.size WHERE OLD.freed_ns IS NULL
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER run_comes AFTER INSERT ON run
BEGIN
  INSERT INTO standing
  VALUES ('run', NEW.source, NEW.pipeline, '',
    CASE NEW.state WHEN 'queued' THEN 'live' WHEN 'running' THEN 'live' WHEN 'publishing' THEN 'live' ELSE NEW.state END, 1, 0)
  ON CONFLICT DO UPDATE SET count = count + 1;
END;

-- A new run of a file that is being routed changes nothing of the file: it was live before. One that does another again, or
-- that comes as something else than queued (from a copy of a ledger), may.
CREATE TRIGGER run_comes_late AFTER INSERT ON run WHEN NEW.replays IS NOT NULL OR NEW.state <> 'queued'
BEGIN
  INSERT INTO standing SELECT 'replay', NEW.source, NEW.pipeline, '', 'replay', 1, 0 WHERE NEW.replays IS NOT NULL
  ON CONFLICT DO UPDATE SET count = count + 1;
  INSERT INTO standing
  SELECT 'file', NEW.source, '',
    CASE others WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded' WHEN 5 THEN 'done'
      ELSE 'live' END,
    CASE min(mine, others) WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded'
      WHEN 5 THEN 'done' ELSE 'live' END,
    1, (SELECT size FROM file WHERE no = NEW.file)
  FROM (
    SELECT CASE NEW.state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                          WHEN 'discarded' THEN 4 ELSE 0 END AS mine,
      coalesce(min(CASE state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                              WHEN 'discarded' THEN 4 ELSE 0 END), 9) AS others
    FROM run WHERE file = NEW.file AND no <> NEW.no
  )
  WHERE iif(others = 9, 0, others) <> min(mine, others)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER run_moves AFTER UPDATE OF state ON run
WHEN CASE OLD.state WHEN 'queued' THEN 'live' WHEN 'running' THEN 'live' WHEN 'publishing' THEN 'live' ELSE OLD.state END
  <> CASE NEW.state WHEN 'running' THEN 'live' WHEN 'publishing' THEN 'live' WHEN 'queued' THEN 'live' ELSE NEW.state END
BEGIN
  INSERT INTO standing
  VALUES ('run', NEW.source, NEW.pipeline,
    CASE OLD.state WHEN 'queued' THEN 'live' WHEN 'running' THEN 'live' WHEN 'publishing' THEN 'live' ELSE OLD.state END,
    CASE NEW.state WHEN 'queued' THEN 'live' WHEN 'running' THEN 'live' WHEN 'publishing' THEN 'live' ELSE NEW.state END,
    1, 0)
  ON CONFLICT DO UPDATE SET count = count + 1;
  INSERT INTO standing
  SELECT 'file', NEW.source, '',
    CASE min(former, others) WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded'
      WHEN 5 THEN 'done' ELSE 'live' END,
    CASE min(mine, others) WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded'
      WHEN 5 THEN 'done' ELSE 'live' END,
    1, (SELECT size FROM file WHERE no = NEW.file)
  FROM (
    SELECT CASE OLD.state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                          WHEN 'discarded' THEN 4 ELSE 0 END AS former,
      CASE NEW.state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                     WHEN 'discarded' THEN 4 ELSE 0 END AS mine,
      coalesce(min(CASE state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                              WHEN 'discarded' THEN 4 ELSE 0 END), 9) AS others
    FROM run WHERE file = NEW.file AND no <> NEW.no
  )
  WHERE min(former, others) <> min(mine, others)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;

-- Where the last run of a file is forgotten, the file is forgotten next: it counts as live until then.
CREATE TRIGGER run_goes AFTER DELETE ON run
BEGIN
  INSERT INTO standing
  VALUES ('run', OLD.source, OLD.pipeline,
    CASE OLD.state WHEN 'queued' THEN 'live' WHEN 'running' THEN 'live' WHEN 'publishing' THEN 'live' ELSE OLD.state END,
    '', 1, 0)
  ON CONFLICT DO UPDATE SET count = count + 1;
  INSERT INTO standing SELECT 'replay', OLD.source, OLD.pipeline, 'replay', '', 1, 0 WHERE OLD.replays IS NOT NULL
  ON CONFLICT DO UPDATE SET count = count + 1;
  INSERT INTO standing
  SELECT 'file', OLD.source, '',
    CASE min(former, others) WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded'
      WHEN 5 THEN 'done' ELSE 'live' END,
    CASE others WHEN 1 THEN 'dead' WHEN 2 THEN 'held' WHEN 3 THEN 'cancelled' WHEN 4 THEN 'discarded' WHEN 5 THEN 'done'
      ELSE 'live' END,
    1, (SELECT size FROM file WHERE no = OLD.file)
  FROM (
    SELECT CASE OLD.state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                          WHEN 'discarded' THEN 4 ELSE 0 END AS former,
      coalesce(min(CASE state WHEN 'done' THEN 5 WHEN 'dead' THEN 1 WHEN 'held' THEN 2 WHEN 'cancelled' THEN 3
                              WHEN 'discarded' THEN 4 ELSE 0 END), 9) AS others
    FROM run WHERE file = OLD.file
  )
  WHERE min(former, others) <> iif(others = 9, 0, others)
  ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
END;
