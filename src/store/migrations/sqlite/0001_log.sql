-- The log, the versions that guards check, and the organisations that entries concern. Instants are microseconds
-- UTC; ids are 16 bytes; hashes are 32 bytes. (idx, ordinal) is a position in the log: the entry's index, and a
-- number within the entry.

-- Log entries, one row an exchange. bytes is the leaf's data, which is never re-encoded.
CREATE TABLE entries (
  idx         INTEGER PRIMARY KEY,  -- index in the log, from 0
  time        INTEGER NOT NULL,     -- never earlier than the time of the previous entry
  exchange    BLOB NOT NULL UNIQUE, -- id of the exchange, time-ordered
  caller      TEXT NOT NULL,        -- organisation id; empty if no certificate was accepted
  system      TEXT NOT NULL,        -- the caller's system, from its certificate
  method      TEXT NOT NULL,        -- full name of the method
  outcome     INTEGER NOT NULL,     -- apgateway.v1.Outcome
  size        INTEGER NOT NULL,     -- size of the tree of the receipt's checkpoint
  bytes       BLOB NOT NULL,        -- encoded apgateway.v1.AuditEntry
  openings    BLOB NOT NULL,        -- encoded apgateway.v1.EntryOpenings
  salts       BLOB,                 -- encrypted: salts of the two commitments
  request_id  BLOB,                 -- set only if the exchange had its effect
  request_mac BLOB,                 -- key id and HMAC of the request as received
  reply       BLOB                  -- the reply as sent, without its receipt; no personal data
) STRICT;
CREATE UNIQUE INDEX entries_request ON entries (request_id, caller) WHERE request_id IS NOT NULL;

-- Tiles of the tree (C2SP tlog-tiles, height 8): up to 256 hashes of level 8 * level. Partial tiles are stored only
-- above the leaves (level > 0).
CREATE TABLE tiles (
  level  INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (level, number)
) STRICT, WITHOUT ROWID;

-- Signed checkpoints, one row a group of entries. The newest is the log's tree head.
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY,  -- entries in the tree
  time INTEGER NOT NULL,     -- time of the last entry
  note TEXT NOT NULL         -- the signed checkpoint
) STRICT;

-- The current version of everything that can be guarded, and the position of its row (ordinal -1: a counter, without
-- a row).
CREATE TABLE current_versions (
  key     BLOB PRIMARY KEY,
  version INTEGER NOT NULL,
  idx     INTEGER NOT NULL,
  ordinal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Organisations that an entry concerns, as its openings list them: one row a delivery, or one of kind 0 without a
-- delivery. Ordinals count within an organisation's rows of the entry.
CREATE TABLE parties (
  organisation TEXT NOT NULL,
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  kind         INTEGER NOT NULL,  -- apgateway.v1.DeliveryKind, or 0
  sender       TEXT NOT NULL,     -- organisation that sent the object
  object       BLOB,              -- id of the delivered object
  placement    BLOB,              -- placement of the object
  PRIMARY KEY (organisation, idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX parties_object ON parties (object) WHERE object IS NOT NULL;

-- Index of entries by caller, without the newest entries: see index_progress.
CREATE TABLE callers (
  organisation TEXT NOT NULL,
  idx          INTEGER NOT NULL,
  PRIMARY KEY (organisation, idx)
) STRICT, WITHOUT ROWID;

-- Index of entries by the placements of their leaves, without the newest entries.
CREATE TABLE placement_entries (
  placement BLOB NOT NULL,
  idx       INTEGER NOT NULL,
  PRIMARY KEY (placement, idx)
) STRICT, WITHOUT ROWID;

-- How far the two indexes go, one row.
CREATE TABLE index_progress (
  id   INTEGER PRIMARY KEY,  -- 0
  size INTEGER NOT NULL      -- the entries below this index are in the two indexes
) STRICT;
