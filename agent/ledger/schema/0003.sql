-- Datasets: files that become complete, travel and are reclaimed together. Files of rules without datasets have none.

CREATE TABLE datasets (
  id         INTEGER PRIMARY KEY,
  rule       INTEGER NOT NULL REFERENCES rules (id),
  key        BLOB    NOT NULL,   -- what people call it, relative to the rule's directory
  generation INTEGER NOT NULL,   -- how often it was complete: 0, 1, and more with each supplement
  seen_at    REAL    NOT NULL,   -- when the first file of the coming generation was seen
  again      REAL,               -- when to look next; NULL: nothing of it waits
  checked_at REAL,               -- when all its files were asked for once more; NULL: they were not
  released   INTEGER NOT NULL,   -- 1: a person said that it is complete
  reason     TEXT,               -- why it waits, or why it was complete
  UNIQUE (rule, key)
) STRICT;
CREATE INDEX datasets_due ON datasets (again, rule, seen_at) WHERE again IS NOT NULL;

ALTER TABLE files ADD COLUMN dataset INTEGER REFERENCES datasets (id);
CREATE INDEX files_of_dataset ON files (dataset, state) WHERE dataset IS NOT NULL;
-- A candidate whose `again` is NULL has settled: it waits for its dataset.
CREATE INDEX files_unsettled ON files (dataset, again) WHERE dataset IS NOT NULL AND state = 1;

CREATE TABLE checksums (         -- what a list that came with the data says of a version, compared with its content
  file      INTEGER PRIMARY KEY REFERENCES files (id),
  algorithm TEXT NOT NULL,
  checksum  BLOB NOT NULL
) STRICT;
