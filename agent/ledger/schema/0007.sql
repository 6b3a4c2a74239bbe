-- What the status page reads, the same however much is known: counts per dataset and directory, and the last day.

CREATE TABLE holdings (          -- the files of one rule in one dataset, or (without datasets) directly in one directory
  id             INTEGER PRIMARY KEY,
  rule           INTEGER NOT NULL REFERENCES rules (id),
  whole          INTEGER NOT NULL,   -- 1: `place` is a dataset; 0: a directory
  place          INTEGER NOT NULL,
  latest         INTEGER NOT NULL,   -- the highest files.id in it: the order of lists
  waiting        INTEGER NOT NULL,   -- candidate, complete, batched
  waiting_bytes  INTEGER NOT NULL,
  verified       INTEGER NOT NULL,
  verified_bytes INTEGER NOT NULL,
  removed        INTEGER NOT NULL,   -- reclaiming, reclaimed
  removed_bytes  INTEGER NOT NULL,
  refused        INTEGER NOT NULL,
  refused_bytes  INTEGER NOT NULL,
  vanished       INTEGER NOT NULL,
  UNIQUE (rule, whole, place)
) STRICT;
CREATE INDEX holdings_latest ON holdings (latest);
CREATE INDEX holdings_waiting ON holdings (latest) WHERE waiting > 0;
CREATE INDEX holdings_refused ON holdings (latest) WHERE refused > 0;

CREATE TABLE holding_copies (    -- proved copies of a holding's files at one destination
  holding     INTEGER NOT NULL REFERENCES holdings (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  here        INTEGER NOT NULL,  -- of versions that are here
  weak        INTEGER NOT NULL,  -- those of them of which only size and mtime were compared
  gone        INTEGER NOT NULL,  -- of versions that were removed here
  PRIMARY KEY (holding, destination)
) STRICT, WITHOUT ROWID;

ALTER TABLE dirs ADD COLUMN unproved INTEGER NOT NULL DEFAULT 0;  -- files directly in it that are not at every destination
CREATE INDEX dirs_unproved ON dirs (path) WHERE unproved > 0;

-- Like `tally`, kept by triggers. 1 to 3 wait, 4 is verified, 5 and 6 are removed, 7 counts nowhere, 8 is refused, 9 vanished.
CREATE TRIGGER holdings_counted AFTER INSERT ON files BEGIN
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
CREATE TRIGGER holdings_recounted AFTER UPDATE OF state, size ON files
WHEN max(old.state, 3) <> max(new.state, 3) OR old.size <> new.size BEGIN
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
CREATE TRIGGER holdings_moved AFTER UPDATE OF rule, dataset ON files
WHEN old.rule <> new.rule OR old.dataset IS NOT new.dataset BEGIN
  UPDATE holdings SET  -- first the counts of the row as it is now leave the old place ...
      waiting = waiting - (new.state <= 3), waiting_bytes = waiting_bytes - (new.state <= 3) * new.size,
      verified = verified - (new.state = 4), verified_bytes = verified_bytes - (new.state = 4) * new.size,
      removed = removed - (new.state IN (5, 6)), removed_bytes = removed_bytes - (new.state IN (5, 6)) * new.size,
      refused = refused - (new.state = 8), refused_bytes = refused_bytes - (new.state = 8) * new.size,
      vanished = vanished - (new.state = 9)
    WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL) AND place = coalesce(old.dataset, old.dir);
  INSERT INTO holdings VALUES (NULL, new.rule, new.dataset IS NOT NULL, coalesce(new.dataset, new.dir), new.id,
      new.state <= 3, (new.state <= 3) * new.size, new.state = 4, (new.state = 4) * new.size,
      new.state IN (5, 6), (new.state IN (5, 6)) * new.size, new.state = 8, (new.state = 8) * new.size, new.state = 9)
    ON CONFLICT (rule, whole, place) DO UPDATE SET latest = max(latest, excluded.latest),
      waiting = waiting + excluded.waiting, waiting_bytes = waiting_bytes + excluded.waiting_bytes,
      verified = verified + excluded.verified, verified_bytes = verified_bytes + excluded.verified_bytes,
      removed = removed + excluded.removed, removed_bytes = removed_bytes + excluded.removed_bytes,
      refused = refused + excluded.refused, refused_bytes = refused_bytes + excluded.refused_bytes,
      vanished = vanished + excluded.vanished;  -- ... and come to the new one; so do its copies.
  INSERT INTO holding_copies SELECT h.id, c.destination,
      -(new.state IN (1, 2, 3, 4, 8)), -(new.state IN (1, 2, 3, 4, 8) AND c.algorithm = 'stat'), -(new.state IN (5, 6))
    FROM copies c JOIN holdings h ON h.rule = old.rule AND h.whole = (old.dataset IS NOT NULL)
      AND h.place = coalesce(old.dataset, old.dir)
    WHERE c.file = new.id AND c.proved_at IS NOT NULL
    ON CONFLICT DO UPDATE SET here = here + excluded.here, weak = weak + excluded.weak, gone = gone + excluded.gone;
  INSERT INTO holding_copies SELECT h.id, c.destination,
      new.state IN (1, 2, 3, 4, 8), new.state IN (1, 2, 3, 4, 8) AND c.algorithm = 'stat', new.state IN (5, 6)
    FROM copies c JOIN holdings h ON h.rule = new.rule AND h.whole = (new.dataset IS NOT NULL)
      AND h.place = coalesce(new.dataset, new.dir)
    WHERE c.file = new.id AND c.proved_at IS NOT NULL
    ON CONFLICT DO UPDATE SET here = here + excluded.here, weak = weak + excluded.weak, gone = gone + excluded.gone;
END;
CREATE TRIGGER holding_copies_disproved AFTER UPDATE OF proved_at ON copies  -- proving them counts many at once: Holdings
WHEN old.proved_at IS NOT NULL AND new.proved_at IS NULL BEGIN
  UPDATE holding_copies SET
      here = here - (SELECT state IN (1, 2, 3, 4, 8) FROM files WHERE id = old.file),
      weak = weak - (SELECT state IN (1, 2, 3, 4, 8) AND old.algorithm = 'stat' FROM files WHERE id = old.file),
      gone = gone - (SELECT state IN (5, 6) FROM files WHERE id = old.file)
    WHERE destination = old.destination AND holding = (SELECT h.id FROM files f JOIN holdings h ON h.rule = f.rule
        AND h.whole = (f.dataset IS NOT NULL) AND h.place = coalesce(f.dataset, f.dir) WHERE f.id = old.file);
END;
CREATE TRIGGER holding_copies_stayed AFTER UPDATE OF state ON files  -- here, removed, or counting no more
WHEN (old.state IN (1, 2, 3, 4, 8)) <> (new.state IN (1, 2, 3, 4, 8)) OR (old.state IN (5, 6)) <> (new.state IN (5, 6)) BEGIN
  UPDATE holding_copies SET
      here = here + (new.state IN (1, 2, 3, 4, 8)) - (old.state IN (1, 2, 3, 4, 8)),
      weak = weak + ((new.state IN (1, 2, 3, 4, 8)) - (old.state IN (1, 2, 3, 4, 8)))
        * (SELECT algorithm = 'stat' FROM copies WHERE file = new.id AND destination = holding_copies.destination),
      gone = gone + (new.state IN (5, 6)) - (old.state IN (5, 6))
    WHERE holding = (SELECT id FROM holdings WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL)
        AND place = coalesce(old.dataset, old.dir))
      AND destination IN (SELECT destination FROM copies WHERE file = new.id AND proved_at IS NOT NULL);
END;

INSERT INTO holdings SELECT NULL, rule, dataset IS NOT NULL, coalesce(dataset, dir), max(id),
    sum(state <= 3), sum((state <= 3) * size), sum(state = 4), sum((state = 4) * size),
    sum(state IN (5, 6)), sum((state IN (5, 6)) * size), sum(state = 8), sum((state = 8) * size), sum(state = 9)
  FROM files GROUP BY rule, dataset IS NOT NULL, coalesce(dataset, dir);
INSERT INTO holding_copies SELECT h.id, c.destination, sum(f.state NOT IN (5, 6)),
    sum(f.state NOT IN (5, 6) AND c.algorithm = 'stat'), sum(f.state IN (5, 6))
  FROM copies c JOIN files f ON f.id = c.file JOIN holdings h ON h.rule = f.rule
    AND h.whole = (f.dataset IS NOT NULL) AND h.place = coalesce(f.dataset, f.dir)
  WHERE c.proved_at IS NOT NULL AND f.state NOT IN (7, 9) GROUP BY h.id, c.destination;
UPDATE dirs SET unproved = (SELECT count(*) FROM files WHERE dir = dirs.id AND state IN (1, 2, 3, 8));

CREATE TABLE history (           -- one interval of ten minutes in which the agent ran; kept for two days
  at            REAL PRIMARY KEY,    -- when it began
  files         INTEGER NOT NULL,    -- verified in it
  bytes         INTEGER NOT NULL,
  backlog_files INTEGER NOT NULL,    -- most that were on their way at one time
  backlog_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE destinations ADD COLUMN changed_at REAL;  -- when it went up or down
ALTER TABLE destinations ADD COLUMN proved_at REAL;   -- when a copy there was last proved

-- Indexes for questions that walked over all that is under way.
DROP INDEX files_due;
CREATE INDEX files_due ON files (again) WHERE again IS NOT NULL;
CREATE INDEX files_waiting ON files (rule, seen_at) WHERE again IS NOT NULL;
DROP INDEX files_refused;
CREATE INDEX files_refused ON files (state) WHERE state = 8;  -- with the rowid: newest first without sorting
CREATE INDEX batches_verified ON batches (rule, verified_at) WHERE verified_at IS NOT NULL;
DROP INDEX datasets_due;
CREATE INDEX datasets_due ON datasets (again) WHERE again IS NOT NULL;
CREATE INDEX datasets_waiting ON datasets (seen_at) WHERE again IS NOT NULL;
CREATE INDEX datasets_oldest ON datasets (rule, seen_at) WHERE again IS NOT NULL;
CREATE INDEX deliveries_held_up ON deliveries (destination) WHERE state < 4 AND reason IS NOT NULL;
