-- What a start left open, and the alerts that the gateway raises by itself.

-- One row when an item is opened, one when the gateway has looked at it after its day.
CREATE TABLE open_items (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  head      BYTEA NOT NULL,     -- its key in heads
  placement BYTEA NOT NULL,
  item      BIGINT NOT NULL,  -- apgateway.v1.MissingItem
  due_date  TEXT COLLATE "C" NOT NULL,     -- ISO, the last day on which it can be made good in time
  looked_at BIGINT NOT NULL,  -- 0 while it waits, 1 once the gateway has looked
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX open_items_due ON open_items (due_date, idx, ordinal) WHERE looked_at = 0;

-- One row a version: raised, then resolved by somebody or closed by itself.
CREATE TABLE alerts (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  head        BYTEA NOT NULL,     -- its key in heads
  placement   BYTEA NOT NULL,
  alert       BYTEA NOT NULL,     -- its id, time-ordered
  version     BIGINT NOT NULL,  -- from 1
  kind        BIGINT NOT NULL,  -- apgateway.v1.AlertKind
  child       BYTEA NOT NULL,
  item        BIGINT NOT NULL,  -- apgateway.v1.MissingItem
  due_date    TEXT COLLATE "C" NOT NULL,     -- ISO, when the item was due
  state       BIGINT NOT NULL,  -- apgateway.v1.AlertState
  raised      BIGINT NOT NULL,  -- microseconds UTC
  ended       BIGINT,           -- microseconds UTC; when it was resolved or closed
  resolved_by TEXT COLLATE "C",              -- organisation that resolved it
  resolution  BYTEA,              -- sealed: apgateway.v1.StoredResolution
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX alerts_placement ON alerts (placement, alert);
-- Of open alerts the gateway looks whether their cause is gone.
CREATE INDEX alerts_open ON alerts (alert) WHERE state = 1;
