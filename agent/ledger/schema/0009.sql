-- Cheaper counting: a file changes its state four times on its way, and each time these run.

-- A row for each state that a rule's files may have, so that counting needs no INSERT ... ON CONFLICT.
INSERT OR IGNORE INTO tally WITH states (state) AS (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9))
  SELECT id, state, 0, 0 FROM rules, states;
CREATE TRIGGER rules_tallied AFTER INSERT ON rules BEGIN
  INSERT INTO tally VALUES (new.id, 1, 0, 0), (new.id, 2, 0, 0), (new.id, 3, 0, 0), (new.id, 4, 0, 0), (new.id, 5, 0, 0),
    (new.id, 6, 0, 0), (new.id, 7, 0, 0), (new.id, 8, 0, 0), (new.id, 9, 0, 0);
END;
DROP TRIGGER files_counted;
CREATE TRIGGER files_counted AFTER INSERT ON files BEGIN
  UPDATE tally SET files = files + 1, bytes = bytes + new.size WHERE rule = new.rule AND state = new.state;
END;
DROP TRIGGER files_recounted;
CREATE TRIGGER files_recounted AFTER UPDATE OF state, size, rule ON files BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - old.size WHERE rule = old.rule AND state = old.state;
  UPDATE tally SET files = files + 1, bytes = bytes + new.size WHERE rule = new.rule AND state = new.state;
END;

-- As before, but compared without IN, for which SQLite builds a table at each row.
DROP TRIGGER holding_copies_stayed;
CREATE TRIGGER holding_copies_stayed AFTER UPDATE OF state ON files  -- here, removed, or counting no more
WHEN (old.state <= 4 OR old.state = 8) <> (new.state <= 4 OR new.state = 8)
  OR (old.state BETWEEN 5 AND 6) <> (new.state BETWEEN 5 AND 6) BEGIN
  UPDATE holding_copies SET
      here = here + (new.state IN (1, 2, 3, 4, 8)) - (old.state IN (1, 2, 3, 4, 8)),
      weak = weak + ((new.state IN (1, 2, 3, 4, 8)) - (old.state IN (1, 2, 3, 4, 8)))
        * (SELECT algorithm = 'stat' FROM copies WHERE file = new.id AND destination = holding_copies.destination),
      gone = gone + (new.state IN (5, 6)) - (old.state IN (5, 6))
    WHERE holding = (SELECT id FROM holdings WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL)
        AND place = coalesce(old.dataset, old.dir))
      AND destination IN (SELECT destination FROM copies WHERE file = new.id AND proved_at IS NOT NULL);
END;
