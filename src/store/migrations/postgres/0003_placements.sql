-- Placements, plans, and each sender's records of children.

CREATE TABLE children (
  idx      BIGINT NOT NULL,
  ordinal  BIGINT NOT NULL,
  child    BYTEA NOT NULL,     -- the gateway's id of the child, random
  sender   TEXT COLLATE "C" NOT NULL,     -- organisation that owns the record
  version  BIGINT NOT NULL,
  identity BYTEA NOT NULL,     -- encrypted: apgateway.v1.ChildIdentity
  new_upn  BYTEA,              -- blind index of the UPN, in the first version that has it
  PRIMARY KEY (idx, ordinal)
);

-- Finds an older version of a record; the newest is found by its key in current_versions.
CREATE INDEX children_child ON children (child, sender, version);

-- The wrapped key of (sender, child). Deleting a row makes all that the key encrypted unreadable.
CREATE TABLE child_keys (
  idx     BIGINT NOT NULL,
  ordinal BIGINT NOT NULL,
  sender  TEXT COLLATE "C" NOT NULL,
  child   BYTEA NOT NULL,
  check_value BYTEA NOT NULL,  -- 32 bytes derived from the key: what the wrapped key must open to
  kek_id  BIGINT NOT NULL,  -- id of the ring's key that wraps it
  wrapped BYTEA NOT NULL,
  PRIMARY KEY (idx, ordinal)
);

-- Placements, one row a version.
CREATE TABLE placements (
  idx                BIGINT NOT NULL,
  ordinal            BIGINT NOT NULL,
  version_key        BYTEA NOT NULL,
  id                 BYTEA NOT NULL,
  version            BIGINT NOT NULL,  -- the etag
  state              BIGINT NOT NULL,  -- apgateway.v1.PlacementState
  commissioner       TEXT COLLATE "C" NOT NULL,
  provider           TEXT COLLATE "C" NOT NULL,
  residence          TEXT COLLATE "C" NOT NULL,     -- local authority in which the child lives
  schools            TEXT COLLATE "C" NOT NULL,     -- schools on whose roll the child is, comma-separated
  party_periods      TEXT COLLATE "C" NOT NULL,     -- periods of schools and residence; empty while unchanged
  child              BYTEA NOT NULL,
  agreement          BYTEA NOT NULL,
  provider_reference TEXT COLLATE "C",
  upn_index          BYTEA,              -- blind index of the UPN under the provider's key
  start_date         TEXT COLLATE "C",
  planned_end_date   TEXT COLLATE "C",
  end_date           TEXT COLLATE "C",
  legal_basis        BIGINT NOT NULL,  -- apgateway.v1.LegalBasis
  reason             BIGINT NOT NULL,  -- apgateway.v1.PlacementReason
  detail             BYTEA NOT NULL,     -- encrypted under the commissioner's key of the child
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX placements_provider ON placements (provider, id);
-- Finds the other placements of a child.
CREATE INDEX placements_child ON placements (child);

-- Organisations that are or were a party to a placement, one row each.
CREATE TABLE placement_parties (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,
  placement    BYTEA NOT NULL,
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX placement_parties_organisation ON placement_parties (organisation, placement);

-- Plans, one row a version.
CREATE TABLE plans (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  placement BYTEA NOT NULL,
  version   BIGINT NOT NULL,
  plan      BYTEA NOT NULL,     -- encrypted: apgateway.v1.Plan
  PRIMARY KEY (idx, ordinal)
);
