-- What a start left open, and the alerts that the gateway raises by itself.

-- One row when an item is opened, one when the gateway has looked at it after its day.
CREATE TABLE open_items (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  head      BLOB NOT NULL,     -- its key in heads
  placement BLOB NOT NULL,
  item      INTEGER NOT NULL,  -- apgateway.v1.MissingItem
  due_date  TEXT NOT NULL,     -- ISO, the last day on which it can be made good in time
  looked_at INTEGER NOT NULL,  -- 0 while it waits, 1 once the gateway has looked
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX open_items_due ON open_items (due_date, idx, ordinal) WHERE looked_at = 0;

-- One row a version: raised, then resolved by somebody or closed by itself.
CREATE TABLE alerts (
  idx         INTEGER NOT NULL,
  ordinal     INTEGER NOT NULL,
  head        BLOB NOT NULL,     -- its key in heads
  placement   BLOB NOT NULL,
  alert       BLOB NOT NULL,     -- its id, time-ordered
  version     INTEGER NOT NULL,  -- from 1
  kind        INTEGER NOT NULL,  -- apgateway.v1.AlertKind
  child       BLOB NOT NULL,
  item        INTEGER NOT NULL,  -- apgateway.v1.MissingItem
  due_date    TEXT NOT NULL,     -- ISO, when the item was due
  state       INTEGER NOT NULL,  -- apgateway.v1.AlertState
  raised      INTEGER NOT NULL,  -- microseconds UTC
  ended       INTEGER,           -- microseconds UTC; when it was resolved or closed
  resolved_by TEXT,              -- organisation that resolved it
  resolution  BLOB,              -- sealed: apgateway.v1.StoredResolution
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_placement ON alerts (placement, alert);
-- Of open alerts the gateway looks whether their cause is gone.
CREATE INDEX alerts_open ON alerts (alert) WHERE state = 1;
