-- Items that were missing when a placement started, and the alerts that the gateway raises.

-- Open items: one row when an item is opened, and one when the gateway has checked it after its due date.
CREATE TABLE open_items (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  version_key BYTEA NOT NULL,     -- its key in current_versions
  placement   BYTEA NOT NULL,
  item        TEXT COLLATE "C" NOT NULL,     -- code of the item, as it is sent: PLAN_MISSING
  version     BIGINT NOT NULL,     -- from 1
  due_date    TEXT COLLATE "C" NOT NULL,     -- ISO, last day on which the item can be supplied in time
  is_checked  BIGINT NOT NULL,     -- 1 once the gateway has checked the item
  is_raised   BIGINT NOT NULL,     -- 1 if the check raised an alert
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX open_items_due ON open_items (due_date, idx, ordinal) WHERE is_checked = 0;

-- Alerts, one row a version: raised, then resolved by an organisation or closed by the gateway.
CREATE TABLE alerts (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  version_key BYTEA NOT NULL,     -- its key in current_versions
  id          BYTEA NOT NULL,     -- time-ordered
  version     BIGINT NOT NULL,     -- from 1
  rule        BIGINT NOT NULL,     -- apgateway.v1.AlertKind of the rule that raised it
  subject     TEXT COLLATE "C" NOT NULL,     -- kind and id: placement/UUID
  placement   BYTEA,              -- placement to whose parties it is shown
  child       BYTEA,              -- child whose keys seal it
  item        TEXT COLLATE "C",              -- code of the open item
  due_date    TEXT COLLATE "C" NOT NULL,     -- ISO, when the item was due
  state       BIGINT NOT NULL,     -- apgateway.v1.AlertState
  raised      BIGINT NOT NULL,     -- microseconds UTC
  ended       BIGINT,              -- microseconds UTC; when it was resolved or closed
  resolved_by TEXT COLLATE "C",              -- organisation that resolved it
  resolution  BYTEA,              -- sealed: apgateway.v1.StoredResolution
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX alerts_placement ON alerts (placement, id);
-- Lists open alerts in the order of the log, because another node may commit an older id later.
CREATE INDEX alerts_open ON alerts (idx, ordinal) WHERE state = 1;
