-- The log, the versions that guards check, and the organisations that entries concern. Instants are microseconds
-- UTC; ids are 16 bytes; hashes are 32 bytes. (idx, ordinal) is a position in the log: the entry's index, and a
-- number within the entry.

-- Log entries, one row an exchange. bytes is the leaf's data, which is never re-encoded.
CREATE TABLE entries (
  idx         BIGINT PRIMARY KEY,  -- index in the log, from 0
  time        BIGINT NOT NULL,     -- never earlier than the time of the previous entry
  exchange    BYTEA NOT NULL UNIQUE, -- id of the exchange, time-ordered
  caller      TEXT COLLATE "C" NOT NULL,        -- organisation id; empty if no certificate was accepted
  system      TEXT COLLATE "C" NOT NULL,        -- the caller's system, from its certificate
  method      TEXT COLLATE "C" NOT NULL,        -- full name of the method
  outcome     BIGINT NOT NULL,     -- apgateway.v1.Outcome
  size        BIGINT NOT NULL,     -- size of the tree of the receipt's checkpoint
  bytes       BYTEA NOT NULL,        -- encoded apgateway.v1.AuditEntry
  openings    BYTEA NOT NULL,        -- encoded apgateway.v1.EntryOpenings
  salts       BYTEA,                 -- encrypted: salts of the two commitments
  request_id  BYTEA,                 -- set only if the exchange had its effect
  request_mac BYTEA,                 -- key id and HMAC of the request as received
  reply       BYTEA                  -- the reply as sent, without its receipt; no personal data
);
CREATE UNIQUE INDEX entries_request ON entries (request_id, caller) WHERE request_id IS NOT NULL;

-- Tiles of the tree (C2SP tlog-tiles, height 8): up to 256 hashes of level 8 * level. Partial tiles are stored only
-- above the leaves (level > 0).
CREATE TABLE tiles (
  level  BIGINT NOT NULL,
  number BIGINT NOT NULL,
  hashes BYTEA NOT NULL,
  PRIMARY KEY (level, number)
);

-- Signed checkpoints, one row a group of entries. The newest is the log's tree head.
CREATE TABLE checkpoints (
  size BIGINT PRIMARY KEY,  -- entries in the tree
  time BIGINT NOT NULL,     -- time of the last entry
  note TEXT COLLATE "C" NOT NULL         -- the signed checkpoint
);

-- The current version of everything that can be guarded, and the position of its row (ordinal -1: a counter, without
-- a row).
CREATE TABLE current_versions (
  key     BYTEA PRIMARY KEY,
  version BIGINT NOT NULL,
  idx     BIGINT NOT NULL,
  ordinal BIGINT NOT NULL
);

-- Organisations that an entry concerns, as its openings list them: one row a delivery, or one of kind 0 without a
-- delivery. Ordinals count within an organisation's rows of the entry.
CREATE TABLE parties (
  organisation TEXT COLLATE "C" NOT NULL,
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  kind         BIGINT NOT NULL,  -- apgateway.v1.DeliveryKind, or 0
  sender       TEXT COLLATE "C" NOT NULL,     -- organisation that sent the object
  object       BYTEA,              -- id of the delivered object
  placement    BYTEA,              -- placement of the object
  PRIMARY KEY (organisation, idx, ordinal)
);
CREATE INDEX parties_object ON parties (object) WHERE object IS NOT NULL;

-- Index of entries by caller, without the newest entries: see index_progress.
CREATE TABLE callers (
  organisation TEXT COLLATE "C" NOT NULL,
  idx          BIGINT NOT NULL,
  PRIMARY KEY (organisation, idx)
);

-- Index of entries by the placements of their leaves, without the newest entries.
CREATE TABLE placement_entries (
  placement BYTEA NOT NULL,
  idx       BIGINT NOT NULL,
  PRIMARY KEY (placement, idx)
);

-- How far the two indexes go, one row.
CREATE TABLE index_progress (
  id   BIGINT PRIMARY KEY,  -- 0
  size BIGINT NOT NULL      -- the entries below this index are in the two indexes
);
