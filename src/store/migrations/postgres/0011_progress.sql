-- Progress returns, one row a revision of a period's return.

CREATE TABLE progress (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  placement BYTEA NOT NULL,
  child     BYTEA NOT NULL,
  sender    TEXT COLLATE "C" NOT NULL,     -- the provider
  from_date TEXT COLLATE "C" NOT NULL,     -- ISO, first day of the period
  to_date   TEXT COLLATE "C" NOT NULL,     -- ISO, last day of the period
  revision  BIGINT NOT NULL,  -- from 1
  flags     BIGINT NOT NULL,  -- 1 incomplete, 2 incomplete and provider may see it, 4 agreement lapsed
  received  BIGINT NOT NULL,  -- microseconds UTC
  progress  BYTEA NOT NULL,     -- encrypted: apgateway.v1.ProgressRecord
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX progress_placement ON progress (placement, idx);
-- Finds the version of the plan whose outcomes a progress return reports.
CREATE INDEX plans_version ON plans (placement, version);
