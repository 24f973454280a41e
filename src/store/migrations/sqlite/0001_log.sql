-- The log, what guards it, and who is concerned by what. Instants are microseconds UTC; ids 16 bytes;
-- hashes 32 bytes. (idx, ordinal) is a place in the log: the entry's index, and a number within it.

-- One row an exchange. bytes is the leaf of the tree, never re-encoded.
CREATE TABLE entries (
  idx         INTEGER PRIMARY KEY,  -- place in the log, from 0
  time        INTEGER NOT NULL,     -- never less than the time of the entry before
  exchange    BLOB NOT NULL UNIQUE, -- id of the exchange, time-ordered
  caller      TEXT NOT NULL,        -- organisation id, or empty where no certificate was accepted
  system      TEXT NOT NULL,        -- the caller's system, from its certificate
  method      TEXT NOT NULL,        -- full name of the method
  outcome     INTEGER NOT NULL,     -- apgateway.v1.Outcome
  size        INTEGER NOT NULL,     -- size of the tree whose checkpoint is in the receipt
  bytes       BLOB NOT NULL,        -- the AuditEntry
  salts       BLOB,                 -- sealed: salts of the two commitments
  request_id  BLOB,                 -- only of an exchange that had its effect
  request_mac BLOB,                 -- key id and HMAC of the request as received
  reply       BLOB                  -- the reply as sent, without its receipt; nothing personal
) STRICT;
CREATE UNIQUE INDEX entries_request ON entries (request_id, caller) WHERE request_id IS NOT NULL;

-- Full tiles of the tree (tlog-tiles, height 8): 256 hashes of level 8 * level.
CREATE TABLE tiles (
  level  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;

-- One row a group of entries; the newest is the head of the log.
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY,  -- entries in the tree
  time INTEGER NOT NULL,     -- of the last entry
  note TEXT NOT NULL         -- the signed checkpoint
) STRICT;

-- The newest version of everything that can be guarded, and where its row stands (ordinal -1: no row).
CREATE TABLE heads (
  key     BLOB PRIMARY KEY,
  version INTEGER NOT NULL,
  idx     INTEGER NOT NULL,
  ordinal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whom an entry concerns otherwise than as its caller: kind 0 for mere counterparts, a delivery's kind otherwise.
CREATE TABLE parties (
  organisation TEXT NOT NULL,
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  kind         INTEGER NOT NULL,  -- apgateway.v1.DeliveryKind, or 0
  sender       TEXT NOT NULL,     -- who sent what is delivered
  object       BLOB,              -- id of what is delivered
  placement    BLOB,              -- the placement that it belongs to
  PRIMARY KEY (organisation, idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX parties_object ON parties (object) WHERE object IS NOT NULL;

-- Entries by their callers, but for the newest: callers_sorted_in in store/tables.rs.
CREATE TABLE callers (
  organisation TEXT NOT NULL,
  idx          INTEGER NOT NULL,
  PRIMARY KEY (organisation, idx)
) STRICT, WITHOUT ROWID;

-- One leaf a child and role of an exchange (the per-child root of its entry is taken over them, by ordinal).
-- Not by placement: a row here would be on a page of its own for each child of each return.
CREATE TABLE leaves (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  placement BLOB NOT NULL,
  role      INTEGER NOT NULL,
  hash      BLOB NOT NULL,
  PRIMARY KEY (idx, placement, ordinal)
) STRICT, WITHOUT ROWID;
