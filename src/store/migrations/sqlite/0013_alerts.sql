-- Items that were missing when a placement started, and the alerts that the gateway raises.

-- Open items: one row when an item is opened, and one when the gateway has checked it after its due date.
CREATE TABLE open_items (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  version_key BLOB NOT NULL,     -- its key in current_versions
  placement BLOB NOT NULL,
  item      INTEGER NOT NULL,  -- apgateway.v1.MissingItem
  due_date  TEXT NOT NULL,     -- ISO, last day on which the item can be supplied in time
  looked_at INTEGER NOT NULL,  -- 1 once the gateway has checked the item
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX open_items_due ON open_items (due_date, idx, ordinal) WHERE looked_at = 0;

-- Alerts, one row a version: raised, then resolved by an organisation or closed by the gateway.
CREATE TABLE alerts (
  idx         INTEGER NOT NULL,
  ordinal     INTEGER NOT NULL,
  version_key BLOB NOT NULL,     -- its key in current_versions
  placement   BLOB NOT NULL,
  alert       BLOB NOT NULL,     -- id of the alert, time-ordered
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
-- Lists open alerts, because the gateway checks whether their cause is gone.
CREATE INDEX alerts_open ON alerts (alert) WHERE state = 1;
