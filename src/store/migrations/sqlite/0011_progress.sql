-- Progress returns, one row a revision of a period's return.

CREATE TABLE progress (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  placement BLOB NOT NULL,
  child     BLOB NOT NULL,
  sender    TEXT NOT NULL,     -- the provider
  from_date TEXT NOT NULL,     -- ISO, first day of the period
  to_date   TEXT NOT NULL,     -- ISO, last day of the period
  revision  INTEGER NOT NULL,  -- from 1
  flags     INTEGER NOT NULL,  -- 1 incomplete, 2 incomplete and provider may see it, 4 agreement lapsed
  received  INTEGER NOT NULL,  -- microseconds UTC
  progress  BLOB NOT NULL,     -- encrypted: apgateway.v1.ProgressRecord
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX progress_placement ON progress (placement, idx);
-- Finds the version of the plan whose outcomes a progress return reports.
CREATE INDEX plans_version ON plans (placement, version);
