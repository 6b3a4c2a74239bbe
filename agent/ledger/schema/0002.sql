-- Transports whose tasks others carry out.

ALTER TABLE destinations ADD COLUMN in_place INTEGER NOT NULL DEFAULT 0;  -- 1: copies are written under their final
                                                                          -- names, and tell only size and mtime
ALTER TABLE destinations ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;   -- 1: down, and a person must act

CREATE TABLE tasks (             -- what was handed over to others: evidence came of the last task that began before it
  delivery INTEGER NOT NULL REFERENCES deliveries (id),
  name     TEXT    NOT NULL,     -- by which they know it
  begun_at REAL    NOT NULL,
  PRIMARY KEY (delivery, name)
) STRICT, WITHOUT ROWID;
