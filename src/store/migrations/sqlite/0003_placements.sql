-- Placements, plans, and each sender's records of children.

CREATE TABLE children (
  idx      INTEGER NOT NULL,
  ordinal  INTEGER NOT NULL,
  child    BLOB NOT NULL,     -- the gateway's id of the child, random
  sender   TEXT NOT NULL,     -- organisation that owns the record
  version  INTEGER NOT NULL,
  identity BLOB NOT NULL,     -- encrypted: apgateway.v1.ChildIdentity
  new_upn  BLOB,              -- blind index of the UPN, in the first version that has it
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

-- Finds an older version of a record; the newest is found by its key in current_versions.
CREATE INDEX children_child ON children (child, sender, version);

-- The wrapped key of (sender, child). Deleting a row makes all that the key encrypted unreadable.
CREATE TABLE child_keys (
  idx     INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  sender  TEXT NOT NULL,
  child   BLOB NOT NULL,
  check_value BLOB NOT NULL,  -- 32 bytes derived from the key: what the wrapped key must open to
  kek_id  INTEGER NOT NULL,  -- id of the ring's key that wraps it
  wrapped BLOB NOT NULL,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

-- Placements, one row a version.
CREATE TABLE placements (
  idx                INTEGER NOT NULL,
  ordinal            INTEGER NOT NULL,
  version_key        BLOB NOT NULL,
  id                 BLOB NOT NULL,
  version            INTEGER NOT NULL,  -- the etag
  state              INTEGER NOT NULL,  -- apgateway.v1.PlacementState
  commissioner       TEXT NOT NULL,
  provider           TEXT NOT NULL,
  residence          TEXT NOT NULL,     -- local authority in which the child lives
  schools            TEXT NOT NULL,     -- schools on whose roll the child is, comma-separated
  party_periods      TEXT NOT NULL,     -- periods of schools and residence; empty while unchanged
  child              BLOB NOT NULL,
  agreement          BLOB NOT NULL,
  provider_reference TEXT,
  upn_index          BLOB,              -- blind index of the UPN under the provider's key
  start_date         TEXT,
  planned_end_date   TEXT,
  end_date           TEXT,
  legal_basis        INTEGER NOT NULL,  -- apgateway.v1.LegalBasis
  reason             INTEGER NOT NULL,  -- apgateway.v1.PlacementReason
  detail             BLOB NOT NULL,     -- encrypted under the commissioner's key of the child
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX placements_provider ON placements (provider, id);
-- Finds the other placements of a child.
CREATE INDEX placements_child ON placements (child);

-- Organisations that are or were a party to a placement, one row each.
CREATE TABLE placement_parties (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  organisation TEXT NOT NULL,
  placement    BLOB NOT NULL,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX placement_parties_organisation ON placement_parties (organisation, placement);

-- Plans, one row a version.
CREATE TABLE plans (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  placement BLOB NOT NULL,
  version   INTEGER NOT NULL,
  plan      BLOB NOT NULL,     -- encrypted: apgateway.v1.Plan
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
