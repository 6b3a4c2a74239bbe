-- Copies are read again after their delivery.

ALTER TABLE copies ADD COLUMN reread_at REAL;         -- when it was last read again; NULL: not since it was proved;
                                                      -- infinite: never again
CREATE INDEX copies_to_reread ON copies (destination, coalesce(reread_at, proved_at)) WHERE proved_at IS NOT NULL;

ALTER TABLE destinations ADD COLUMN reread_at REAL;   -- when a copy there was last read again
ALTER TABLE destinations ADD COLUMN free_at REAL NOT NULL DEFAULT 0;  -- before this the rate allows no reading

CREATE TABLE findings (          -- copies that were read again and are not what was proved
  destination INTEGER NOT NULL REFERENCES destinations (id),
  file        INTEGER NOT NULL REFERENCES files (id),
  path        BLOB    NOT NULL,  -- relative to the destination; the file may be proved under another one by now
  kind        TEXT    NOT NULL,  -- changed, missing, unreadable, doubtful
  reason      TEXT    NOT NULL,  -- with its hint
  checksum    BLOB    NOT NULL,  -- what was proved to be there
  algorithm   TEXT    NOT NULL,
  found_at    REAL    NOT NULL,
  looked_at   REAL    NOT NULL,  -- when it was last looked at again
  closed_at   REAL,              -- NULL: open. A closed one still says that what stands there is not what we delivered
  closed      TEXT,              -- why
  PRIMARY KEY (destination, file, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX findings_open ON findings (destination, looked_at) WHERE closed_at IS NULL;
