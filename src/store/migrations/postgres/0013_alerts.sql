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

-- Alerts, one row a version: raised, escalated, resolved by an organisation or closed by the gateway, opened again.
CREATE TABLE alerts (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  version_key BYTEA NOT NULL,     -- its key in current_versions
  id          BYTEA NOT NULL,     -- time-ordered
  version     BIGINT NOT NULL,     -- from 1
  rule        TEXT COLLATE "C" NOT NULL,     -- code of the rule that raised it: OPEN_ITEM_OVERDUE
  subject     TEXT COLLATE "C" NOT NULL,     -- kind and id: placement/UUID
  placement   BYTEA,              -- placement to whose parties it is shown
  organisation TEXT COLLATE "C",              -- organisation to which alone it is shown, if it is about no placement
  figures     BYTEA,              -- apgateway.v1.AlertFigures, if it is about no placement
  child       BYTEA,              -- child whose keys seal it
  item        TEXT COLLATE "C",              -- code of the open item
  due_date    TEXT COLLATE "C" NOT NULL,     -- ISO, by when the cause should have been gone
  severity    BIGINT NOT NULL,     -- 1 to 3; 1 is the most urgent
  state       BIGINT NOT NULL,     -- apgateway.v1.AlertState
  raised      BIGINT NOT NULL,     -- microseconds UTC
  opened      BIGINT NOT NULL,     -- microseconds UTC; when it was last opened
  times_raised BIGINT NOT NULL,    -- 1, and one more for each time it was opened again
  level       BIGINT NOT NULL,     -- how often it was escalated since it was opened
  act_by      BIGINT NOT NULL,     -- microseconds UTC; until when somebody must act on it
  escalated   BIGINT,              -- microseconds UTC; when it was escalated last
  ended       BIGINT,              -- microseconds UTC; when it was resolved or closed
  resolved_by TEXT COLLATE "C",              -- organisation that resolved it
  resolution  BYTEA,              -- sealed: apgateway.v1.StoredResolution
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX alerts_placement ON alerts (placement, id);
-- Lists open alerts in the order of the log, because another node may commit an older id later.
CREATE INDEX alerts_open ON alerts (idx, ordinal) WHERE state = 1;
-- Finds the newest alert of a rule about a subject.
CREATE INDEX alerts_subject ON alerts (subject, rule, idx, ordinal);
CREATE INDEX alerts_id ON alerts (id, version);
-- Finds the alerts of which an organisation was told.
CREATE INDEX parties_alerts ON parties (organisation, object, idx) WHERE kind = 22;

-- Moments: when something is evaluated next, one row a version. Only the newest of a subject counts.
CREATE TABLE moments (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  version_key BYTEA NOT NULL,     -- its key in current_versions
  subject     TEXT COLLATE "C" NOT NULL,     -- kind and id: alert/UUID
  version     BIGINT NOT NULL,     -- from 1
  due         BIGINT,              -- microseconds UTC; NULL once nothing is due
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX moments_due ON moments (due, idx, ordinal) WHERE due IS NOT NULL;
