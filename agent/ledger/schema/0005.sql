-- What is to be done because a batch was verified.

CREATE TABLE outbox (            -- one batch and one action of its rule
  id       INTEGER PRIMARY KEY,
  batch    INTEGER NOT NULL REFERENCES batches (id),
  rule     INTEGER NOT NULL REFERENCES rules (id),
  action   TEXT    NOT NULL,     -- which of the rule's: 'webhook', 'webhook-2', 'share-NAME'
  payload  BLOB,                 -- frozen when the batch was verified; NULL: over
  made_at  REAL    NOT NULL,
  attempt  INTEGER NOT NULL DEFAULT 0,  -- counted before the call: a killed one may have happened
  again    REAL,                 -- when to try (again); 0: a person wants it now; NULL: over
  reason   TEXT,                 -- why the last attempt failed, or why it was given up
  ended_at REAL,
  UNIQUE (batch, action)
) STRICT;
CREATE INDEX outbox_due ON outbox (rule, action, again) WHERE again IS NOT NULL;
