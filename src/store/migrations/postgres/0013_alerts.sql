-- Items that were missing when a placement started, and the alerts that the gateway raises.

-- Open items: one row when an item is opened, and one when the gateway has checked it after its due date.
CREATE TABLE open_items (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  version_key BYTEA NOT NULL,     -- its key in current_versions
  placement BYTEA NOT NULL,
  item      BIGINT NOT NULL,  -- apgateway.v1.MissingItem
  due_date  TEXT COLLATE "C" NOT NULL,     -- ISO, last day on which the item can be supplied in time
  looked_at BIGINT NOT NULL,  -- 1 once the gateway has checked the item
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX open_items_due ON open_items (due_date, idx, ordinal) WHERE looked_at = 0;

-- Alerts, one row a version: raised, then resolved by an organisation or closed by the gateway.
CREATE TABLE alerts (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  version_key BYTEA NOT NULL,     -- its key in current_versions
  placement   BYTEA NOT NULL,
  alert       BYTEA NOT NULL,     -- id of the alert, time-ordered
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
-- Lists open alerts, because the gateway checks whether their cause is gone.
CREATE INDEX alerts_open ON alerts (alert) WHERE state = 1;
