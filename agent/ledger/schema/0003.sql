-- What people send by hand: batches of the reserved rule `send`.

CREATE TABLE sends (
  batch  INTEGER PRIMARY KEY REFERENCES batches (id),
  errand INTEGER NOT NULL,       -- the first batch of the same command
  root   BLOB    NOT NULL        -- directory that the paths at the destination count from
) STRICT;
CREATE INDEX sends_by_errand ON sends (errand);
