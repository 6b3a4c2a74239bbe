-- The ledger: what the agent knows, one row per fact. Times are seconds since the epoch. Paths are bytes, because file
-- names are bytes. States are small integers (agent/ledger/states.py).

CREATE TABLE meta (              -- one-off facts: the agent's id, what is paused
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rules (             -- names, so that a file needs only a small number
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE dirs (              -- absolute paths of directories, so that a file needs only its own name
  id   INTEGER PRIMARY KEY,
  path BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE files (             -- one row per version of a path that was ever delivered or will be
  id         INTEGER PRIMARY KEY,
  dir        INTEGER NOT NULL REFERENCES dirs (id),
  name       BLOB    NOT NULL,
  generation INTEGER NOT NULL,   -- 1, 2, ...: the highest is the present one
  rule       INTEGER NOT NULL REFERENCES rules (id),
  state      INTEGER NOT NULL,
  size       INTEGER NOT NULL,
  mtime_ns   INTEGER NOT NULL,
  ctime_ns   INTEGER NOT NULL,
  device     INTEGER NOT NULL,
  inode      INTEGER NOT NULL,
  seen_at    REAL    NOT NULL,   -- when the agent first saw the path in this generation
  since      REAL    NOT NULL,   -- candidate: first of the identical readings; later: when it became complete
  again      REAL,               -- candidate: when to look next
  batch      INTEGER REFERENCES batches (id),
  reason     TEXT                -- why it waits, or why it is where it is
) STRICT;
CREATE UNIQUE INDEX files_by_path ON files (dir, name, generation);
CREATE INDEX files_by_batch ON files (batch) WHERE batch IS NOT NULL;
CREATE INDEX files_due ON files (again, rule, seen_at) WHERE again IS NOT NULL;
CREATE INDEX files_refused ON files (rule) WHERE state = 8;
CREATE INDEX files_reclaiming ON files (batch) WHERE state = 5;

CREATE TABLE batches (           -- groups of files; sealed_at NULL while files may still join
  id          INTEGER PRIMARY KEY,
  rule        INTEGER NOT NULL REFERENCES rules (id),
  key         TEXT    NOT NULL,
  files       INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  first_at    REAL    NOT NULL,
  last_at     REAL    NOT NULL,
  sealed_at   REAL,
  reason      TEXT,              -- why it was sealed
  verified_at REAL,              -- when its last delivery ended
  reclaim_at  REAL               -- when to think of reclaiming it next; NULL: nothing left to reclaim
) STRICT;
CREATE INDEX batches_open ON batches (rule, first_at) WHERE sealed_at IS NULL;
CREATE INDEX batches_under_way ON batches (rule, first_at) WHERE verified_at IS NULL;
CREATE INDEX batches_to_reclaim ON batches (rule, verified_at) WHERE reclaim_at IS NOT NULL;

CREATE TABLE destinations (
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL,
  address  TEXT NOT NULL,        -- where it is; a name that moves is another destination
  identity TEXT,                 -- what its identity file said when it was set up
  up       INTEGER,              -- 1, 0, or NULL before the first look
  reason   TEXT,
  UNIQUE (name, address)
) STRICT;

CREATE TABLE deliveries (        -- one batch to one destination
  id          INTEGER PRIMARY KEY,
  batch       INTEGER NOT NULL REFERENCES batches (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  state       INTEGER NOT NULL,
  attempt     INTEGER NOT NULL DEFAULT 0,
  request     BLOB,              -- frozen before it is sent, so that the very same can be sent again
  task        TEXT,
  again       REAL,              -- when to try (again); NULL while nothing is to be tried
  reason      TEXT,
  changed_at  REAL NOT NULL,
  UNIQUE (batch, destination)
) STRICT;
CREATE INDEX deliveries_due ON deliveries (destination, again) WHERE again IS NOT NULL;
CREATE INDEX deliveries_unfinished ON deliveries (destination, state) WHERE state < 4;

CREATE TABLE copies (            -- a version at a destination: first the intent to write there, then the evidence
  file        INTEGER NOT NULL REFERENCES files (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  path        BLOB    NOT NULL,  -- relative to the destination
  path_key    INTEGER NOT NULL,  -- 64-bit hash of the case-folded path
  checksum    BLOB,
  algorithm   TEXT,
  proved_at   REAL,              -- NULL: intent only
  PRIMARY KEY (file, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_by_path ON copies (destination, path_key);

CREATE TABLE reclaims (          -- the intent to remove a local copy, until it is gone
  file      INTEGER PRIMARY KEY REFERENCES files (id),
  root      BLOB    NOT NULL,    -- watched directory
  original  BLOB    NOT NULL,    -- path relative to root
  aside     BLOB    NOT NULL,    -- where it stands meanwhile, relative to root
  purge_at  REAL    NOT NULL,    -- not before this time
  reason    TEXT    NOT NULL
) STRICT;

CREATE TABLE unclaimed (         -- paths that no rule claims, per watched directory, as of its last sweep
  root    BLOB PRIMARY KEY,
  files   INTEGER NOT NULL,
  example TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts per state, kept by triggers so that they can never disagree with the rows, and cost nothing to read.
CREATE TABLE tally (
  rule  INTEGER NOT NULL,
  state INTEGER NOT NULL,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (rule, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER files_counted AFTER INSERT ON files BEGIN
  INSERT INTO tally VALUES (new.rule, new.state, 1, new.size)
    ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER files_recounted AFTER UPDATE OF state, size, rule ON files BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - old.size WHERE rule = old.rule AND state = old.state;
  INSERT INTO tally VALUES (new.rule, new.state, 1, new.size)
    ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TABLE delivery_tally (
  destination INTEGER NOT NULL,
  state       INTEGER NOT NULL,
  deliveries  INTEGER NOT NULL,
  PRIMARY KEY (destination, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER deliveries_counted AFTER INSERT ON deliveries BEGIN
  INSERT INTO delivery_tally VALUES (new.destination, new.state, 1)
    ON CONFLICT DO UPDATE SET deliveries = deliveries + 1;
END;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF state ON deliveries BEGIN
  UPDATE delivery_tally SET deliveries = deliveries - 1 WHERE destination = old.destination AND state = old.state;
  INSERT INTO delivery_tally VALUES (new.destination, new.state, 1)
    ON CONFLICT DO UPDATE SET deliveries = deliveries + 1;
END;
