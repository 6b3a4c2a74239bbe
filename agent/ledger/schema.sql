-- The ledger: what the agent knows, one row per fact. Times are seconds since the epoch. Paths are bytes, because file
-- names are bytes. States go by their names (agent/ledger/states.py).
--
-- A change here is another layout: raise LAYOUT in agent/ledger/store.py. A ledger of another layout is refused.

CREATE TABLE meta (              -- one-off facts: the agent's id, what is paused
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rules (             -- names, so that a file needs only a small number
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  swept    BLOB,                 -- watched directory that was swept for it; NULL: none yet
  swept_at REAL                  -- when its first whole sweep ended: `newer_than` is for what was seen until then
) STRICT;

CREATE TABLE dirs (              -- absolute paths of directories, so that a file needs only its own name
  id       INTEGER PRIMARY KEY,
  path     BLOB    NOT NULL UNIQUE,
  unproved INTEGER NOT NULL DEFAULT 0  -- files directly in it that are not at every destination
) STRICT;
CREATE INDEX dirs_unproved ON dirs (path) WHERE unproved > 0;


-- Files, and what they are part of

CREATE TABLE files (             -- one row per version of a path that will be delivered, or was (agent/ledger/pruning.py forgets)
  id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- no number is used again: names of parts and of the trash are made of it
  dir        INTEGER NOT NULL REFERENCES dirs (id),
  name       BLOB    NOT NULL,
  generation INTEGER NOT NULL,   -- 1, 2, ...: the highest is the present one
  rule       INTEGER NOT NULL REFERENCES rules (id),
  state      TEXT    NOT NULL,
  waiting    INTEGER GENERATED ALWAYS AS (state = 'candidate' OR state = 'complete' OR state = 'batched') VIRTUAL,
  here       INTEGER GENERATED ALWAYS AS (waiting OR state = 'verified' OR state = 'refused' OR state = 'ignored') VIRTUAL,
  gone       INTEGER GENERATED ALWAYS AS (state = 'reclaiming' OR state = 'reclaimed' OR state = 'removed') VIRTUAL,
  size       INTEGER NOT NULL,
  counted    INTEGER GENERATED ALWAYS AS (min(size, 17592186044416)) VIRTUAL,  -- what enters sums: rules.model.counted
  mtime_ns   INTEGER NOT NULL,
  ctime_ns   INTEGER NOT NULL,
  device     INTEGER NOT NULL,
  inode      INTEGER NOT NULL,
  seen_at    REAL    NOT NULL,   -- when the agent first saw the path in this generation
  since      REAL    NOT NULL,   -- candidate: first of the identical readings; later: when it became complete
  again      REAL,               -- candidate: when to look next; NULL: it has settled, and waits for its dataset
  batch      INTEGER REFERENCES batches (id),
  reason     TEXT,               -- why it waits, or why it is where it is
  ended_at   REAL,               -- when it was superseded, reclaimed or gone; NULL: it is not, or all was forgotten that may be
  lasting    INTEGER,            -- from then on, 1: a destination may have a copy; 0: none has; NULL: it is not over
  dataset    INTEGER REFERENCES datasets (id),  -- files of rules without datasets have none
  rewritten  INTEGER NOT NULL DEFAULT 0,  -- 1: another file than the one before, or seen smaller than what was proved: it does not go on from that
  restamped  INTEGER NOT NULL DEFAULT 0,  -- 1: only the ctime changed since the proof: compare before deleting
  CHECK (here OR gone OR state = 'superseded' OR state = 'vanished')
) STRICT;
CREATE UNIQUE INDEX files_by_path ON files (dir, name, generation);
CREATE INDEX files_by_batch ON files (batch) WHERE batch IS NOT NULL;
CREATE INDEX files_due ON files (again) WHERE again IS NOT NULL;
CREATE INDEX files_waiting ON files (rule, seen_at) WHERE again IS NOT NULL;
CREATE INDEX files_refused ON files (state) WHERE state = 'refused';  -- with the rowid: newest first without sorting
CREATE INDEX files_reclaiming ON files (batch) WHERE state = 'reclaiming';
CREATE INDEX files_kept ON files (rule) WHERE state = 'verified' AND reason IS NOT NULL AND NOT restamped;
CREATE INDEX files_ended ON files (lasting, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX files_of_dataset ON files (dataset, state) WHERE dataset IS NOT NULL;
CREATE INDEX files_unsettled ON files (dataset, again) WHERE dataset IS NOT NULL AND state = 'candidate';

CREATE TABLE datasets (          -- files that become complete, travel and are reclaimed together
  id         INTEGER PRIMARY KEY,
  rule       INTEGER NOT NULL REFERENCES rules (id),
  key        BLOB    NOT NULL,   -- what people call it, relative to the rule's directory
  generation INTEGER NOT NULL,   -- how often it was complete: 0, 1, and more with each supplement
  seen_at    REAL    NOT NULL,   -- when the first file of the coming generation was seen
  again      REAL,               -- when to look next; NULL: nothing of it waits
  checked_at REAL,               -- when all its files were asked for once more; NULL: they were not
  released   INTEGER NOT NULL,   -- 1: a person said that it is complete
  reason     TEXT,               -- why it waits, or why it was complete
  ordinal    INTEGER NOT NULL DEFAULT 1,  -- 2, 3, ...: the name was used again, for another dataset; the highest is the present one
  mtime_ns   INTEGER,            -- the date of all its paths, since it was first complete
  device     INTEGER,            -- its directory when it was last complete; NULL: it has none, or that could not be told
  inode      INTEGER,
  ctime_ns   INTEGER,
  UNIQUE (rule, key, ordinal)
) STRICT;
CREATE INDEX datasets_due ON datasets (again) WHERE again IS NOT NULL;
CREATE INDEX datasets_waiting ON datasets (seen_at) WHERE again IS NOT NULL;
CREATE INDEX datasets_oldest ON datasets (rule, seen_at) WHERE again IS NOT NULL;
CREATE INDEX datasets_never_complete ON datasets (id) WHERE generation = 0 AND again IS NULL;

CREATE TABLE checksums (         -- what a list that came with the data says of a version, compared with its content
  file      INTEGER PRIMARY KEY REFERENCES files (id),
  algorithm TEXT NOT NULL,
  checksum  BLOB NOT NULL
) STRICT;

CREATE TABLE batches (           -- groups of files; sealed_at NULL while files may still join
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- events of batches have ids that are made of it
  rule        INTEGER NOT NULL REFERENCES rules (id),
  key         TEXT    NOT NULL,
  files       INTEGER NOT NULL,  -- that ever joined
  left        INTEGER NOT NULL DEFAULT 0,  -- those of them that are in it no more
  bytes       INTEGER NOT NULL,
  first_at    REAL    NOT NULL,
  last_at     REAL    NOT NULL,
  sealed_at   REAL,
  reason      TEXT,              -- why it was sealed
  verified_at REAL,              -- when its last delivery ended
  reclaim_at  REAL,              -- when to think of reclaiming it next; NULL: nothing left to reclaim
  closes      INTEGER REFERENCES datasets (id)  -- it has the markers of this dataset, which go when the other files are there
) STRICT;
CREATE INDEX batches_closing ON batches (closes) WHERE closes IS NOT NULL;
CREATE INDEX batches_open ON batches (rule, first_at) WHERE sealed_at IS NULL;
CREATE INDEX batches_under_way ON batches (rule, first_at) WHERE verified_at IS NULL;
CREATE INDEX batches_verified ON batches (rule, verified_at) WHERE verified_at IS NOT NULL;
CREATE INDEX batches_empty ON batches (sealed_at) WHERE files = left AND sealed_at IS NOT NULL;
CREATE INDEX batches_to_reclaim ON batches (rule, verified_at) WHERE reclaim_at IS NOT NULL;

CREATE TRIGGER batches_left AFTER UPDATE OF batch ON files WHEN old.batch IS NOT NULL AND new.batch IS NOT old.batch BEGIN
  UPDATE batches SET left = left + 1 WHERE id = old.batch;
END;

CREATE TABLE unclaimed (         -- paths that no rule claims, per watched directory, as of its last sweep
  root    BLOB PRIMARY KEY,
  files   INTEGER NOT NULL,
  example TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE links (             -- symbolic links that rules would take were they files, and that are skipped
  dir     BLOB    NOT NULL,      -- absolute path
  name    BLOB    NOT NULL,
  rule    INTEGER NOT NULL REFERENCES rules (id),
  dataset INTEGER REFERENCES datasets (id) ON DELETE CASCADE,
  outside BLOB,                  -- where it leads, if no rule delivers that; NULL: what it leads to is delivered itself
  target  BLOB,                  -- what it says, where the rule copies links; NULL: it is skipped
  mtime_ns INTEGER NOT NULL,
  told    INTEGER NOT NULL,      -- 1: it was in a message, or others of its dataset or directory were
  PRIMARY KEY (dir, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_to_copy ON links (rule, dir, name) WHERE target IS NOT NULL;
CREATE INDEX links_of_dataset ON links (dataset) WHERE dataset IS NOT NULL;
CREATE INDEX links_outside ON links (rule, dataset, dir) WHERE outside IS NOT NULL;
CREATE INDEX links_to ON links (outside) WHERE outside IS NOT NULL;

CREATE TABLE link_copies (       -- links that were made at destinations, or could not be
  dir         BLOB    NOT NULL,
  name        BLOB    NOT NULL,
  destination INTEGER NOT NULL REFERENCES destinations (id),
  target      BLOB    NOT NULL,  -- what it says there, or was to say
  made        BLOB,              -- what the link there says; NULL: none was made
  reason      TEXT,              -- why it could not be made; NULL: it is there
  PRIMARY KEY (dir, name, destination),
  FOREIGN KEY (dir, name) REFERENCES links (dir, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX link_copies_refused ON link_copies (destination) WHERE reason IS NOT NULL;

CREATE TABLE arrivals (          -- what arrived where files are taken away, as a record has it that outlived a lost ledger
  identity  TEXT    NOT NULL,    -- of the destination
  file      BLOB    NOT NULL,    -- local path
  size      INTEGER NOT NULL,
  mtime_ns  INTEGER NOT NULL,
  path      BLOB    NOT NULL,    -- at the destination
  algorithm TEXT    NOT NULL,
  checksum  BLOB    NOT NULL,
  PRIMARY KEY (identity, file, size, mtime_ns)
) STRICT, WITHOUT ROWID;

CREATE TABLE unseen (            -- directories that cannot be listed, or not as a whole, per watched directory
  root        BLOB PRIMARY KEY,
  directories INTEGER NOT NULL,
  example     TEXT NOT NULL      -- one of them, with the reason
) STRICT, WITHOUT ROWID;

CREATE TABLE landing (           -- destinations below a watched directory, which its last sweep left out
  root        BLOB PRIMARY KEY,
  directories INTEGER NOT NULL,
  example     TEXT NOT NULL
) STRICT, WITHOUT ROWID;


-- Destinations, and what is there

CREATE TABLE destinations (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  address    TEXT NOT NULL,      -- where it is; a name that moves is another destination
  identity   TEXT,               -- what its identity file said when it was set up
  location   TEXT,               -- where it is, whichever Globus collection shows it; NULL: not known, or a local directory
  up         INTEGER,            -- 1, 0, or NULL before the first look
  reason     TEXT,
  in_place   INTEGER NOT NULL DEFAULT 0,  -- 1: copies are written under their final names, and tell only size and mtime
  refused    INTEGER NOT NULL DEFAULT 0,  -- 1: down, and a person must act
  reread_at  REAL,               -- when a copy there was last read again
  free_at    REAL NOT NULL DEFAULT 0,     -- before this the rate allows no reading
  changed_at REAL,               -- when it went up or down
  proved_at  REAL,               -- when a copy there was last proved
  UNIQUE (name, address)
) STRICT;

CREATE TABLE dataset_folders (   -- datasets whose names other files have at a destination
  dataset     INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
  destination INTEGER NOT NULL REFERENCES destinations (id),
  number      INTEGER NOT NULL,  -- 2, 3, ...: of the folder, in which its files keep their names
  PRIMARY KEY (dataset, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE submissions (       -- one request to a destination, for one or more deliveries of a rule
  id          INTEGER PRIMARY KEY,
  request     BLOB,              -- frozen before it is sent, so that the very same can be sent again; NULL: it need not be
  task        TEXT               -- what the destination calls it
) STRICT;

CREATE TABLE deliveries (        -- one batch to one destination
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  batch       INTEGER NOT NULL REFERENCES batches (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  state       TEXT    NOT NULL,
  under_way   INTEGER GENERATED ALWAYS AS (state IN ('pending', 'submitting', 'active', 'verifying')) VIRTUAL,
  attempt     INTEGER NOT NULL DEFAULT 0,
  submission  INTEGER REFERENCES submissions (id), -- the last request that it was in
  again       REAL,              -- when to try (again); NULL while nothing is to be tried; pending and NULL: a closing batch
  reason      TEXT,
  changed_at  REAL NOT NULL,
  template    TEXT,              -- what `paths` were rendered from; NULL: they were not, or the batch has ended
  paths       TEXT,              -- of the files at the destination, as they were when the batch was sealed
  UNIQUE (batch, destination),
  CHECK (under_way OR state IN ('verified', 'failed', 'refused', 'skipped', 'undecided'))
) STRICT;
CREATE INDEX deliveries_due ON deliveries (destination, again) WHERE again IS NOT NULL;
CREATE INDEX deliveries_unfinished ON deliveries (destination, state) WHERE under_way;
CREATE INDEX deliveries_of_submission ON deliveries (submission) WHERE submission IS NOT NULL;
CREATE INDEX deliveries_closing ON deliveries (destination) WHERE state = 'pending' AND again IS NULL;
CREATE INDEX deliveries_held_up ON deliveries (destination) WHERE under_way AND reason IS NOT NULL;

CREATE TABLE behind (            -- delivered files that are not at a destination which came later, as of the last replanning
  rule        INTEGER NOT NULL REFERENCES rules (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  undecided   INTEGER NOT NULL,  -- here; nobody said whether they go there
  gone        INTEGER NOT NULL,  -- they would go there, and have no local copy any more
  PRIMARY KEY (rule, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (             -- what was handed over to others: evidence came of the last task that began before it
  delivery INTEGER NOT NULL REFERENCES deliveries (id),
  name     TEXT    NOT NULL,     -- by which they know it
  begun_at REAL    NOT NULL,
  PRIMARY KEY (delivery, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE copies (            -- a version at a destination: first the intent to write there, then the evidence
  file        INTEGER NOT NULL REFERENCES files (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  path        BLOB    NOT NULL,  -- relative to the destination
  path_key    INTEGER NOT NULL,  -- 64-bit hash of the case-folded path
  checksum    BLOB,
  algorithm   TEXT,
  size        INTEGER,           -- bytes that were compared: evidence for a version of this size alone
  proved_at   REAL,              -- NULL: intent only
  reread_at   REAL,              -- when it was last read again; NULL: not since it was proved; infinite: never again
  sent        INTEGER NOT NULL DEFAULT 0, -- intent only: a service took a request for it, so any part of the file may be there
  aside       BLOB,              -- intent only: where the former copy at the path may have been renamed to
  mount       BLOB,              -- the last directory on the way to it where another file system began; NULL: none did
  PRIMARY KEY (file, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_by_path ON copies (destination, path_key);
CREATE INDEX copies_to_reread ON copies (destination, coalesce(reread_at, proved_at)) WHERE proved_at IS NOT NULL;

CREATE TABLE mounts (            -- where file systems began below a destination, as copies were proved there
  destination INTEGER NOT NULL REFERENCES destinations (id),
  path        BLOB    NOT NULL,  -- relative to the destination
  PRIMARY KEY (destination, path)
) STRICT, WITHOUT ROWID;

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
  closed_at   REAL,              -- NULL: open. A closed one still says that the copy is not what we delivered
  closed      TEXT,              -- why
  PRIMARY KEY (destination, file, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX findings_of_file ON findings (file);
CREATE INDEX findings_open ON findings (destination, looked_at) WHERE closed_at IS NULL;

CREATE TABLE reclaims (          -- the intent to remove a local copy, until it is gone
  file      INTEGER PRIMARY KEY REFERENCES files (id),
  root      BLOB    NOT NULL,    -- watched directory
  original  BLOB    NOT NULL,    -- path relative to root
  aside     BLOB    NOT NULL,    -- where it stands until then, relative to root
  purge_at  REAL    NOT NULL,    -- not before this time
  ctime_ns  INTEGER,             -- since it stands aside; NULL: not known, as where the agent was killed
  coming_back INTEGER NOT NULL DEFAULT 0, -- 1: it is being put back
  leaving   INTEGER NOT NULL DEFAULT 0, -- 1: it is being removed from the trash
  reason    TEXT    NOT NULL
) STRICT;

CREATE TABLE emptied (           -- directories that files were removed from, of rules with `empty_dirs`
  dir      INTEGER PRIMARY KEY REFERENCES dirs (id),
  rule     INTEGER NOT NULL REFERENCES rules (id),
  ctime_ns INTEGER NOT NULL,     -- of the directory, as it was seen last
  since    REAL    NOT NULL,     -- since when it has been seen so
  again    REAL    NOT NULL      -- when to look next
) STRICT;
CREATE INDEX emptied_due ON emptied (again);

CREATE TABLE returns (           -- files whose writers came back after they had closed them, by folder and suffix
  dir        INTEGER NOT NULL REFERENCES dirs (id),
  suffix     BLOB    NOT NULL,   -- with its dot; empty: none
  name       BLOB,               -- the one file; NULL: several, so it holds for all with this suffix
  quiet      REAL    NOT NULL,   -- seconds that they wait unchanged
  learned_at REAL    NOT NULL,
  PRIMARY KEY (dir, suffix)
) STRICT, WITHOUT ROWID;


-- What people send and fetch by hand

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


-- What is done because a batch was verified, and messages to people

CREATE TABLE outbox (            -- a call to be made, until it was made; then its row goes
  id      INTEGER PRIMARY KEY,
  rule    TEXT    NOT NULL,      -- of the action; '': a message to people
  name    TEXT    NOT NULL,      -- which of the rule's actions (`rules.actions.named`), or which channel
  batch   INTEGER REFERENCES batches (id),  -- NULL: a message
  payload BLOB    NOT NULL,      -- frozen when it was entered
  made_at REAL    NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,  -- counted before the call: a killed one may have happened
  again   REAL    NOT NULL,      -- when to try (again); 0: a person wants it now
  reason  TEXT                   -- why the last attempt failed
) STRICT;
CREATE INDEX outbox_due ON outbox (rule, name, again);
CREATE INDEX outbox_of_batch ON outbox (batch) WHERE batch IS NOT NULL;

CREATE TABLE remarks (           -- what is remembered of what was said, so that it is said once
  thing    TEXT PRIMARY KEY,     -- 'refused', 'digest', 'destination NAME'
  since    REAL,                 -- since when a destination is down; NULL: it is up
  told_at  REAL,                 -- when it was last told as bad; of the digest: when it was last made
  standing INTEGER NOT NULL,     -- 1: people believe that it is down, and are to hear when it is up
  acute    INTEGER NOT NULL      -- 1: they know that it waits for a person
) STRICT, WITHOUT ROWID;

CREATE TABLE told (              -- a refused file that was in a message
  dir     INTEGER NOT NULL REFERENCES dirs (id),
  name    BLOB    NOT NULL,
  reason  TEXT    NOT NULL,
  told_at REAL    NOT NULL,
  PRIMARY KEY (dir, name)
) STRICT, WITHOUT ROWID;


-- Counts per state, kept by triggers so that they can never disagree with the rows, and cost nothing to read. A file
-- changes its state four times on its way, and each time these run: so they are cheap.

CREATE TABLE tally (             -- a row for each state that a rule's files may have: counting needs no INSERT ... ON CONFLICT
  rule  INTEGER NOT NULL REFERENCES rules (id),
  state TEXT    NOT NULL,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (rule, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER rules_tallied AFTER INSERT ON rules BEGIN
  INSERT INTO tally SELECT new.id, column1, 0, 0 FROM (VALUES ('candidate'), ('complete'), ('batched'), ('verified'),
    ('reclaiming'), ('reclaimed'), ('superseded'), ('refused'), ('vanished'), ('removed'), ('ignored'));
END;
CREATE TRIGGER files_counted AFTER INSERT ON files BEGIN
  UPDATE tally SET files = files + 1, bytes = bytes + new.counted WHERE rule = new.rule AND state = new.state;
END;
CREATE TRIGGER files_forgotten AFTER DELETE ON files BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - old.counted WHERE rule = old.rule AND state = old.state;
  UPDATE batches SET left = left + 1 WHERE id = old.batch;
  UPDATE summaries SET vanished = vanished - (old.state = 'vanished')
    WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL) AND place = coalesce(old.dataset, old.dir);
END;
CREATE TRIGGER files_recounted AFTER UPDATE OF state, size, rule ON files BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - old.counted WHERE rule = old.rule AND state = old.state;
  UPDATE tally SET files = files + 1, bytes = bytes + new.counted WHERE rule = new.rule AND state = new.state;
END;

CREATE TABLE delivery_tally (
  destination INTEGER NOT NULL REFERENCES destinations (id),
  state       TEXT    NOT NULL,
  deliveries  INTEGER NOT NULL,
  PRIMARY KEY (destination, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER deliveries_counted AFTER INSERT ON deliveries BEGIN
  INSERT INTO delivery_tally VALUES (new.destination, new.state, 1)
    ON CONFLICT DO UPDATE SET deliveries = deliveries + 1;
END;
CREATE TRIGGER deliveries_forgotten AFTER DELETE ON deliveries BEGIN
  UPDATE delivery_tally SET deliveries = deliveries - 1 WHERE destination = old.destination AND state = old.state;
END;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF state ON deliveries BEGIN
  UPDATE delivery_tally SET deliveries = deliveries - 1 WHERE destination = old.destination AND state = old.state;
  INSERT INTO delivery_tally VALUES (new.destination, new.state, 1)
    ON CONFLICT DO UPDATE SET deliveries = deliveries + 1;
END;


-- What the status page reads, the same however much is known: counts per dataset and directory, and the last day.

CREATE TABLE summaries (          -- the files of one rule in one dataset, or (without datasets) directly in one directory
  id             INTEGER PRIMARY KEY,
  rule           INTEGER NOT NULL REFERENCES rules (id),
  whole          INTEGER NOT NULL,   -- 1: `place` is a dataset; 0: a directory
  place          INTEGER NOT NULL,
  latest         INTEGER NOT NULL,   -- the highest files.id in it: the order of lists
  waiting        INTEGER NOT NULL,   -- candidate, complete, batched
  waiting_bytes  INTEGER NOT NULL,
  verified       INTEGER NOT NULL,
  verified_bytes INTEGER NOT NULL,
  reclaimed      INTEGER NOT NULL,   -- reclaiming, reclaimed
  reclaimed_bytes INTEGER NOT NULL,
  removed        INTEGER NOT NULL,   -- by somebody else
  removed_bytes  INTEGER NOT NULL,
  refused        INTEGER NOT NULL,
  refused_bytes  INTEGER NOT NULL,
  vanished       INTEGER NOT NULL,
  ignored        INTEGER NOT NULL,   -- from before the agent
  ignored_bytes  INTEGER NOT NULL,
  UNIQUE (rule, whole, place)
) STRICT;
CREATE INDEX summaries_latest ON summaries (latest);
CREATE INDEX summaries_waiting ON summaries (latest) WHERE waiting > 0;
CREATE INDEX summaries_refused ON summaries (latest) WHERE refused > 0;

CREATE TABLE summary_copies (    -- proved copies of a summary's files at one destination
  summary     INTEGER NOT NULL REFERENCES summaries (id),
  destination INTEGER NOT NULL REFERENCES destinations (id),
  here        INTEGER NOT NULL,  -- of versions that are here
  weak        INTEGER NOT NULL,  -- those of them with only size and mtime compared
  gone        INTEGER NOT NULL,  -- of versions that were reclaimed, or removed by somebody else
  PRIMARY KEY (summary, destination)
) STRICT, WITHOUT ROWID;

-- Like `tally`, kept by triggers. Superseded versions count nowhere.
-- What many files do at once, Summaries counts in one statement for all, where a trigger would look up the summary of each:
-- those that are found as candidates, those that become verified, and copies that are proved.
CREATE TRIGGER summaries_counted AFTER INSERT ON files WHEN new.state <> 'candidate' BEGIN
  INSERT INTO summaries VALUES (NULL, new.rule, new.dataset IS NOT NULL, coalesce(new.dataset, new.dir), new.id,
      new.waiting, new.waiting * new.counted, new.state = 'verified', (new.state = 'verified') * new.counted,
      new.state IN ('reclaiming', 'reclaimed'), (new.state IN ('reclaiming', 'reclaimed')) * new.counted, new.state = 'removed', (new.state = 'removed') * new.counted, new.state = 'refused', (new.state = 'refused') * new.counted, new.state = 'vanished', new.state = 'ignored', (new.state = 'ignored') * new.counted)
    ON CONFLICT (rule, whole, place) DO UPDATE SET latest = max(latest, excluded.latest),
      waiting = waiting + excluded.waiting, waiting_bytes = waiting_bytes + excluded.waiting_bytes,
      verified = verified + excluded.verified, verified_bytes = verified_bytes + excluded.verified_bytes,
      reclaimed = reclaimed + excluded.reclaimed, reclaimed_bytes = reclaimed_bytes + excluded.reclaimed_bytes,
      removed = removed + excluded.removed, removed_bytes = removed_bytes + excluded.removed_bytes,
      refused = refused + excluded.refused, refused_bytes = refused_bytes + excluded.refused_bytes,
      vanished = vanished + excluded.vanished, ignored = ignored + excluded.ignored,
      ignored_bytes = ignored_bytes + excluded.ignored_bytes;
  UPDATE dirs SET unproved = unproved + 1 WHERE id = new.dir AND (new.waiting OR new.state IN ('refused', 'ignored'));
END;
CREATE TRIGGER summaries_recounted AFTER UPDATE OF state, size ON files
WHEN (old.state <> new.state AND NOT (old.waiting AND new.waiting) AND NOT (old.state = 'batched' AND new.state = 'verified'))
  OR old.size <> new.size BEGIN
  UPDATE summaries SET
      waiting = waiting + new.waiting - old.waiting,
      waiting_bytes = waiting_bytes + new.waiting * new.counted - old.waiting * old.counted,
      verified = verified + (new.state = 'verified') - (old.state = 'verified'),
      verified_bytes = verified_bytes + (new.state = 'verified') * new.counted - (old.state = 'verified') * old.counted,
      reclaimed = reclaimed + (new.state IN ('reclaiming', 'reclaimed')) - (old.state IN ('reclaiming', 'reclaimed')),
      reclaimed_bytes = reclaimed_bytes + (new.state IN ('reclaiming', 'reclaimed')) * new.counted - (old.state IN ('reclaiming', 'reclaimed')) * old.counted,
      removed = removed + (new.state = 'removed') - (old.state = 'removed'),
      removed_bytes = removed_bytes + (new.state = 'removed') * new.counted - (old.state = 'removed') * old.counted,
      refused = refused + (new.state = 'refused') - (old.state = 'refused'),
      refused_bytes = refused_bytes + (new.state = 'refused') * new.counted - (old.state = 'refused') * old.counted,
      vanished = vanished + (new.state = 'vanished') - (old.state = 'vanished'),
      ignored = ignored + (new.state = 'ignored') - (old.state = 'ignored'),
      ignored_bytes = ignored_bytes + (new.state = 'ignored') * new.counted - (old.state = 'ignored') * old.counted
    WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL) AND place = coalesce(old.dataset, old.dir);
  UPDATE dirs SET unproved = unproved + (new.waiting OR new.state IN ('refused', 'ignored')) - (old.waiting OR old.state IN ('refused', 'ignored'))
    WHERE id = old.dir AND (new.waiting OR new.state IN ('refused', 'ignored')) <> (old.waiting OR old.state IN ('refused', 'ignored'));
END;
CREATE TRIGGER summaries_moved AFTER UPDATE OF rule, dataset ON files
WHEN old.rule <> new.rule OR old.dataset IS NOT new.dataset BEGIN
  UPDATE summaries SET  -- first the counts of the row as it is now leave the old place ...
      waiting = waiting - new.waiting, waiting_bytes = waiting_bytes - new.waiting * new.counted,
      verified = verified - (new.state = 'verified'), verified_bytes = verified_bytes - (new.state = 'verified') * new.counted,
      reclaimed = reclaimed - (new.state IN ('reclaiming', 'reclaimed')), reclaimed_bytes = reclaimed_bytes - (new.state IN ('reclaiming', 'reclaimed')) * new.counted,
      removed = removed - (new.state = 'removed'), removed_bytes = removed_bytes - (new.state = 'removed') * new.counted,
      refused = refused - (new.state = 'refused'), refused_bytes = refused_bytes - (new.state = 'refused') * new.counted,
      vanished = vanished - (new.state = 'vanished'),
      ignored = ignored - (new.state = 'ignored'), ignored_bytes = ignored_bytes - (new.state = 'ignored') * new.counted
    WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL) AND place = coalesce(old.dataset, old.dir);
  INSERT INTO summaries VALUES (NULL, new.rule, new.dataset IS NOT NULL, coalesce(new.dataset, new.dir), new.id,
      new.waiting, new.waiting * new.counted, new.state = 'verified', (new.state = 'verified') * new.counted,
      new.state IN ('reclaiming', 'reclaimed'), (new.state IN ('reclaiming', 'reclaimed')) * new.counted, new.state = 'removed', (new.state = 'removed') * new.counted, new.state = 'refused', (new.state = 'refused') * new.counted, new.state = 'vanished', new.state = 'ignored', (new.state = 'ignored') * new.counted)
    ON CONFLICT (rule, whole, place) DO UPDATE SET latest = max(latest, excluded.latest),
      waiting = waiting + excluded.waiting, waiting_bytes = waiting_bytes + excluded.waiting_bytes,
      verified = verified + excluded.verified, verified_bytes = verified_bytes + excluded.verified_bytes,
      reclaimed = reclaimed + excluded.reclaimed, reclaimed_bytes = reclaimed_bytes + excluded.reclaimed_bytes,
      removed = removed + excluded.removed, removed_bytes = removed_bytes + excluded.removed_bytes,
      refused = refused + excluded.refused, refused_bytes = refused_bytes + excluded.refused_bytes,
      vanished = vanished + excluded.vanished, ignored = ignored + excluded.ignored,
      ignored_bytes = ignored_bytes + excluded.ignored_bytes;  -- ... and come to the new one; so do its copies.
  INSERT INTO summary_copies SELECT h.id, c.destination,
      -new.here, -(new.here AND c.algorithm = 'stat'), -new.gone
    FROM copies c JOIN summaries h ON h.rule = old.rule AND h.whole = (old.dataset IS NOT NULL)
      AND h.place = coalesce(old.dataset, old.dir)
    WHERE c.file = new.id AND c.proved_at IS NOT NULL
    ON CONFLICT DO UPDATE SET here = here + excluded.here, weak = weak + excluded.weak, gone = gone + excluded.gone;
  INSERT INTO summary_copies SELECT h.id, c.destination,
      new.here, new.here AND c.algorithm = 'stat', new.gone
    FROM copies c JOIN summaries h ON h.rule = new.rule AND h.whole = (new.dataset IS NOT NULL)
      AND h.place = coalesce(new.dataset, new.dir)
    WHERE c.file = new.id AND c.proved_at IS NOT NULL
    ON CONFLICT DO UPDATE SET here = here + excluded.here, weak = weak + excluded.weak, gone = gone + excluded.gone;
END;
CREATE TRIGGER summary_copies_disproved AFTER UPDATE OF proved_at ON copies
WHEN old.proved_at IS NOT NULL AND new.proved_at IS NULL BEGIN
  UPDATE summary_copies SET
      here = here - (SELECT here FROM files WHERE id = old.file),
      weak = weak - (SELECT here AND old.algorithm = 'stat' FROM files WHERE id = old.file),
      gone = gone - (SELECT gone FROM files WHERE id = old.file)
    WHERE destination = old.destination AND summary = (SELECT h.id FROM files f JOIN summaries h ON h.rule = f.rule
        AND h.whole = (f.dataset IS NOT NULL) AND h.place = coalesce(f.dataset, f.dir) WHERE f.id = old.file);
END;
CREATE TRIGGER summary_copies_stayed AFTER UPDATE OF state ON files  -- here, removed, or counting no more
WHEN old.here <> new.here OR old.gone <> new.gone BEGIN
  UPDATE summary_copies SET
      here = here + new.here - old.here,
      weak = weak + (new.here - old.here)
        * (SELECT algorithm = 'stat' FROM copies WHERE file = new.id AND destination = summary_copies.destination),
      gone = gone + new.gone - old.gone
    WHERE summary = (SELECT id FROM summaries WHERE rule = old.rule AND whole = (old.dataset IS NOT NULL)
        AND place = coalesce(old.dataset, old.dir))
      AND destination IN (SELECT destination FROM copies WHERE file = new.id AND proved_at IS NOT NULL);
END;

CREATE TABLE history (           -- one interval of ten minutes in which the agent ran; kept for two days
  at            REAL PRIMARY KEY,    -- when it began
  files         INTEGER NOT NULL,    -- verified in it
  bytes         INTEGER NOT NULL,
  backlog_files INTEGER NOT NULL,    -- most that were on their way at one time
  backlog_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
