-- Placements, plans and the children as their senders know them.

CREATE TABLE children (
  idx      BIGINT NOT NULL,
  ordinal  BIGINT NOT NULL,
  child    BYTEA NOT NULL,     -- the gateway's id, random
  sender   TEXT COLLATE "C" NOT NULL,     -- organisation whose record this is
  version  BIGINT NOT NULL,
  identity BYTEA NOT NULL,     -- sealed: apgateway.v1.ChildIdentity
  PRIMARY KEY (idx, ordinal)
);

-- What a record was at some time: the newest is found by its key in heads.
CREATE INDEX children_child ON children (child, sender, version);

-- The wrapped key of (sender, child). Deleting a row shreds all that it sealed.
CREATE TABLE child_keys (
  idx     BIGINT NOT NULL,
  ordinal BIGINT NOT NULL,
  sender  TEXT COLLATE "C" NOT NULL,
  child   BYTEA NOT NULL,
  kek_id  BIGINT NOT NULL,  -- key of the ring that wraps it
  wrapped BYTEA NOT NULL,
  PRIMARY KEY (idx, ordinal)
);

-- One row a version of a placement.
CREATE TABLE placements (
  idx                BIGINT NOT NULL,
  ordinal            BIGINT NOT NULL,
  head               BYTEA NOT NULL,
  placement          BYTEA NOT NULL,
  version            BIGINT NOT NULL,  -- the etag
  state              BIGINT NOT NULL,  -- apgateway.v1.PlacementState
  commissioner       TEXT COLLATE "C" NOT NULL,
  provider           TEXT COLLATE "C" NOT NULL,
  residence          TEXT COLLATE "C" NOT NULL,     -- LA where the child lives
  schools            TEXT COLLATE "C" NOT NULL,     -- schools on whose roll the child is, comma-separated
  party_periods      TEXT COLLATE "C" NOT NULL,     -- their periods and those of residence; empty while none has changed
  child              BYTEA NOT NULL,
  agreement          BYTEA NOT NULL,
  provider_reference TEXT COLLATE "C",
  upn_index          BYTEA,              -- blind index of the UPN under the provider's key
  start_date         TEXT COLLATE "C",
  planned_end_date   TEXT COLLATE "C",
  end_date           TEXT COLLATE "C",
  legal_basis        BIGINT NOT NULL,  -- apgateway.v1.LegalBasis
  reason             BIGINT NOT NULL,  -- apgateway.v1.PlacementReason
  detail             BYTEA NOT NULL,     -- sealed under the commissioner's key of the child
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX placements_provider ON placements (provider, placement);

-- Everyone who has or had a part in a placement finds it here: one row each.
CREATE TABLE placement_parties (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,
  placement    BYTEA NOT NULL,
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX placement_parties_organisation ON placement_parties (organisation, placement);

-- One row a version of a plan.
CREATE TABLE plans (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  placement BYTEA NOT NULL,
  version   BIGINT NOT NULL,
  plan      BYTEA NOT NULL,     -- sealed: apgateway.v1.Plan
  PRIMARY KEY (idx, ordinal)
);
