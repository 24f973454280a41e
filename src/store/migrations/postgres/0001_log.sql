-- The log, what guards it, and who is concerned by what. Instants are microseconds UTC; ids 16 bytes;
-- hashes 32 bytes. (idx, ordinal) is a place in the log: the entry's index, and a number within it.

-- One row an exchange. bytes is the leaf of the tree, never re-encoded.
CREATE TABLE entries (
  idx         BIGINT PRIMARY KEY,  -- place in the log, from 0
  time        BIGINT NOT NULL,     -- never less than the time of the entry before
  exchange    BYTEA NOT NULL UNIQUE, -- id of the exchange, time-ordered
  caller      TEXT COLLATE "C" NOT NULL,        -- organisation id, or empty where no certificate was accepted
  system      TEXT COLLATE "C" NOT NULL,        -- the caller's system, from its certificate
  method      TEXT COLLATE "C" NOT NULL,        -- full name of the method
  outcome     BIGINT NOT NULL,     -- apgateway.v1.Outcome
  size        BIGINT NOT NULL,     -- size of the tree whose checkpoint is in the receipt
  bytes       BYTEA NOT NULL,        -- the AuditEntry
  salts       BYTEA,                 -- sealed: salts of the two commitments
  request_id  BYTEA,                 -- only of an exchange that had its effect
  request_mac BYTEA,                 -- key id and HMAC of the request as received
  reply       BYTEA                  -- the reply as sent, without its receipt; nothing personal
);
CREATE UNIQUE INDEX entries_request ON entries (request_id, caller) WHERE request_id IS NOT NULL;

-- Full tiles of the tree (tlog-tiles, height 8): 256 hashes of level 8 * level.
CREATE TABLE tiles (
  level  BIGINT NOT NULL,
  number BIGINT NOT NULL,
  hashes BYTEA NOT NULL,
  PRIMARY KEY (level, number)
);

-- One row a group of entries; the newest is the head of the log.
CREATE TABLE checkpoints (
  size BIGINT PRIMARY KEY,  -- entries in the tree
  time BIGINT NOT NULL,     -- of the last entry
  note TEXT COLLATE "C" NOT NULL         -- the signed checkpoint
);

-- The newest version of everything that can be guarded, and where its row stands (ordinal -1: no row).
CREATE TABLE heads (
  key     BYTEA PRIMARY KEY,
  version BIGINT NOT NULL,
  idx     BIGINT NOT NULL,
  ordinal BIGINT NOT NULL
);

-- Whom an entry concerns otherwise than as its caller: kind 0 for mere counterparts, a delivery's kind otherwise.
CREATE TABLE parties (
  organisation TEXT COLLATE "C" NOT NULL,
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  kind         BIGINT NOT NULL,  -- apgateway.v1.DeliveryKind, or 0
  sender       TEXT COLLATE "C" NOT NULL,     -- who sent what is delivered
  object       BYTEA,              -- id of what is delivered
  placement    BYTEA,              -- the placement that it belongs to
  PRIMARY KEY (organisation, idx, ordinal)
);
CREATE INDEX parties_object ON parties (object) WHERE object IS NOT NULL;

-- Entries by their callers, but for the newest: callers_sorted_in in store/tables.rs.
CREATE TABLE callers (
  organisation TEXT COLLATE "C" NOT NULL,
  idx          BIGINT NOT NULL,
  PRIMARY KEY (organisation, idx)
);

-- One leaf a child and role of an exchange (the per-child root of its entry is taken over them, by ordinal).
-- Not by placement: a row here would be on a page of its own for each child of each return.
CREATE TABLE leaves (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  placement BYTEA NOT NULL,
  role      BIGINT NOT NULL,
  hash      BYTEA NOT NULL,
  PRIMARY KEY (idx, placement, ordinal)
);
