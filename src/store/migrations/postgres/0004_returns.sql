-- Attendance: one row a return, one row a mark revision.

CREATE TABLE returns (
  idx        BIGINT NOT NULL,
  ordinal    BIGINT NOT NULL,
  return_id  BYTEA NOT NULL,
  provider   TEXT COLLATE "C" NOT NULL,
  nil        BIGINT NOT NULL,  -- 1: declared that there was nothing to send
  stored     BIGINT NOT NULL,  -- marks stored, corrections among them
  PRIMARY KEY (idx, ordinal)
);

CREATE TABLE marks (
  idx              BIGINT NOT NULL,
  ordinal          BIGINT NOT NULL,
  placement        BYTEA NOT NULL,
  date             TEXT COLLATE "C" NOT NULL,     -- ISO
  slot             BIGINT NOT NULL,  -- 1 AM, 2 PM, 16 + minute of the day of a timed session's start
  revision         BIGINT NOT NULL,  -- from 1
  return_id        BYTEA NOT NULL,
  code             TEXT COLLATE "C",              -- statutory code as sent
  seen             BIGINT,           -- apgateway.v1.SeenMark as sent
  end_minute       BIGINT,           -- of a timed session, minute of the day
  minutes_late     BIGINT,
  minutes_planned  BIGINT,
  minutes_attended BIGINT,
  flags            BIGINT NOT NULL,  -- the bits of `returns/rows.rs`
  suggested        TEXT,             -- code suggested for the home school when the mark was received
  received         BIGINT NOT NULL,  -- microseconds UTC
  child            BYTEA NOT NULL,
  sender           TEXT COLLATE "C" NOT NULL,     -- the provider, whose key seals note
  note             BYTEA,              -- sealed: comment and reason of a correction
  prior_idx        BIGINT,           -- place of the revision that this one corrects
  prior_ordinal    BIGINT,
  PRIMARY KEY (idx, ordinal)
);
