-- Placements, plans and the children as their senders know them.

CREATE TABLE children (
  idx      INTEGER NOT NULL,
  ordinal  INTEGER NOT NULL,
  child    BLOB NOT NULL,     -- the gateway's id, random
  sender   TEXT NOT NULL,     -- organisation whose record this is
  version  INTEGER NOT NULL,
  identity BLOB NOT NULL,     -- sealed: apgateway.v1.ChildIdentity
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

-- What a record was at some time: the newest is found by its key in heads.
CREATE INDEX children_child ON children (child, sender, version);

-- The wrapped key of (sender, child). Deleting a row shreds all that it sealed.
CREATE TABLE child_keys (
  idx     INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  sender  TEXT NOT NULL,
  child   BLOB NOT NULL,
  kek_id  INTEGER NOT NULL,  -- key of the ring that wraps it
  wrapped BLOB NOT NULL,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

-- One row a version of a placement.
CREATE TABLE placements (
  idx                INTEGER NOT NULL,
  ordinal            INTEGER NOT NULL,
  head               BLOB NOT NULL,
  placement          BLOB NOT NULL,
  version            INTEGER NOT NULL,  -- the etag
  state              INTEGER NOT NULL,  -- apgateway.v1.PlacementState
  commissioner       TEXT NOT NULL,
  provider           TEXT NOT NULL,
  residence          TEXT NOT NULL,     -- LA where the child lives
  schools            TEXT NOT NULL,     -- schools on whose roll the child is, comma-separated
  party_periods      TEXT NOT NULL,     -- their periods and those of residence; empty while none has changed
  child              BLOB NOT NULL,
  agreement          BLOB NOT NULL,
  provider_reference TEXT,
  upn_index          BLOB,              -- blind index of the UPN under the provider's key
  start_date         TEXT,
  planned_end_date   TEXT,
  end_date           TEXT,
  legal_basis        INTEGER NOT NULL,  -- apgateway.v1.LegalBasis
  reason             INTEGER NOT NULL,  -- apgateway.v1.PlacementReason
  detail             BLOB NOT NULL,     -- sealed under the commissioner's key of the child
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX placements_provider ON placements (provider, placement);

-- Everyone who has or had a part in a placement finds it here: one row each.
CREATE TABLE placement_parties (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  organisation TEXT NOT NULL,
  placement    BLOB NOT NULL,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX placement_parties_organisation ON placement_parties (organisation, placement);

-- One row a version of a plan.
CREATE TABLE plans (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  placement BLOB NOT NULL,
  version   INTEGER NOT NULL,
  plan      BLOB NOT NULL,     -- sealed: apgateway.v1.Plan
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
