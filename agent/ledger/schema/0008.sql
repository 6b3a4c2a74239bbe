-- What people are told.

CREATE TABLE notices (           -- a message for one channel, until it is sent; then its row goes
  id      INTEGER PRIMARY KEY,
  channel TEXT    NOT NULL,      -- 'email' or 'webhook'
  subject TEXT    NOT NULL,
  body    TEXT    NOT NULL,
  made_at REAL    NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  again   REAL    NOT NULL,      -- when to try (again)
  reason  TEXT                   -- why the last attempt failed
) STRICT;
CREATE INDEX notices_of_channel ON notices (channel, id);

CREATE TABLE remarks (           -- what is remembered of what was said, so that it is said once
  thing    TEXT PRIMARY KEY,     -- 'refused', 'digest', 'destination NAME'
  since    REAL,                 -- since when a destination is down; NULL: it is up
  told_at  REAL,                 -- when it was last told as bad; of the digest: when it was last made
  standing INTEGER NOT NULL,     -- 1: people believe that it is down, and are to hear when it is up
  acute    INTEGER NOT NULL      -- 1: they know that it waits for a person
) STRICT, WITHOUT ROWID;

CREATE TABLE told (              -- a refused file that people were told of
  dir     INTEGER NOT NULL,
  name    BLOB    NOT NULL,
  reason  TEXT    NOT NULL,
  told_at REAL    NOT NULL,
  PRIMARY KEY (dir, name)
) STRICT, WITHOUT ROWID;
