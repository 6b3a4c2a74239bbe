-- What people send and fetch by hand.

CREATE TABLE sends (             -- batches of the reserved rule `send`
  batch   INTEGER PRIMARY KEY REFERENCES batches (id),
  command INTEGER NOT NULL,      -- the first batch of the same command
  root    BLOB    NOT NULL       -- directory that the paths at the destination count from
) STRICT;
CREATE INDEX sends_by_command ON sends (command);

CREATE TABLE fetches (           -- what was fetched back, and what of it is under way
  id          INTEGER PRIMARY KEY,
  destination INTEGER NOT NULL REFERENCES destinations (id),
  source      BLOB    NOT NULL,  -- path at the destination
  target      BLOB    NOT NULL,  -- local directory
  request     BLOB,              -- frozen before it is sent; NULL: nothing is under way
  task        TEXT,              -- by which the service knows it
  UNIQUE (destination, source, target)
) STRICT;
