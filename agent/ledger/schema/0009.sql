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

-- What many files do at once, Holdings counts in one statement for all, where a trigger would look up the holding of each:
-- those that are found as candidates, and those that become verified.
DROP TRIGGER holdings_counted;
CREATE TRIGGER holdings_counted AFTER INSERT ON files WHEN new.state <> 1 BEGIN
  INSERT INTO holdings VALUES (NULL, new.rule, new.dataset IS NOT NULL, coalesce(new.dataset, new.dir), new.id,
      new.state <= 3, (new.state <= 3) * new.size, new.state = 4, (new.state = 4) * new.size,
      new.state IN (5, 6), (new.state IN (5, 6)) * new.size, new.state = 8, (new.state = 8) * new.size, new.state = 9)
    ON CONFLICT (rule, whole, place) DO UPDATE SET latest = max(latest, excluded.latest),
      waiting = waiting + excluded.waiting, waiting_bytes = waiting_bytes + excluded.waiting_bytes,
      verified = verified + excluded.verified, verified_bytes = verified_bytes + excluded.verified_bytes,
      removed = removed + excluded.removed, removed_bytes = removed_bytes + excluded.removed_bytes,
      refused = refused + excluded.refused, refused_bytes = refused_bytes + excluded.refused_bytes,
      vanished = vanished + excluded.vanished;
  UPDATE dirs SET unproved = unproved + 1 WHERE id = new.dir AND new.state IN (1, 2, 3, 8);
END;
DROP TRIGGER holdings_recounted;
CREATE TRIGGER holdings_recounted AFTER UPDATE OF state, size ON files
WHEN (max(old.state, 3) <> max(new.state, 3) AND NOT (old.state = 3 AND new.state = 4)) OR old.size <> new.size BEGIN
  UPDATE holdings SET
      waiting = waiting + (new.state <= 3) - (old.state <= 3),
      waiting_bytes = waiting_bytes + (new.state <= 3) * new.size - (old.state <= 3) * old.size,
      verified = verified + (new.state = 4) - (old.state = 4),
      verified_bytes = verified_bytes + (new.state = 4) * new.size - (old.state = 4) * old.size,
      removed = removed + (new.state IN (5, 6)) - (old.state IN (5, 6)),
      removed_bytes = removed_bytes + (new.state IN (5, 6)) * new.size - (old.state IN (5, 6)) * old.size,
      refused = refused + (new.state = 8) - (old.state = 8),
      refused_bytes = refused_bytes + (new.state = 8) * new.size - (old.state = 8) * old.size,
      vanished = vanished + (new.state = 9) - (old.state = 9)
    WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL) AND place = coalesce(old.dataset, old.dir);
  UPDATE dirs SET unproved = unproved + (new.state IN (1, 2, 3, 8)) - (old.state IN (1, 2, 3, 8))
    WHERE id = old.dir AND (new.state IN (1, 2, 3, 8)) <> (old.state IN (1, 2, 3, 8));
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
