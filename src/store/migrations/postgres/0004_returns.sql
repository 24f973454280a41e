-- Attendance: returns, one row each, and marks, one row a revision.

CREATE TABLE returns (
  idx        BIGINT NOT NULL,
  ordinal    BIGINT NOT NULL,
  return_id  BYTEA NOT NULL,
  provider   TEXT COLLATE "C" NOT NULL,
  is_nil     BIGINT NOT NULL,  -- 1 for a nil return: the provider declared that it has nothing to send
  stored     BIGINT NOT NULL,  -- number of stored marks, including corrections
  PRIMARY KEY (idx, ordinal)
);

CREATE TABLE marks (
  idx              BIGINT NOT NULL,
  ordinal          BIGINT NOT NULL,
  placement        BYTEA NOT NULL,
  date             TEXT COLLATE "C" NOT NULL,     -- ISO
  slot             BIGINT NOT NULL,  -- 1 AM, 2 PM, 16 + minute of the day at which a timed session starts
  revision         BIGINT NOT NULL,  -- from 1
  return_id        BYTEA NOT NULL,
  code             TEXT COLLATE "C",              -- statutory code as sent
  seen             BIGINT,           -- apgateway.v1.SeenMark as sent
  end_time         BIGINT,           -- minute of the day at which a timed session ends
  minutes_late     BIGINT,
  minutes_planned  BIGINT,
  minutes_attended BIGINT,
  flags            BIGINT NOT NULL,  -- bits defined in returns/flags.rs
  suggested        TEXT,             -- code that was suggested for the home school on receipt
  received         BIGINT NOT NULL,  -- microseconds UTC
  child            BYTEA NOT NULL,
  sender           TEXT COLLATE "C" NOT NULL,     -- the provider, under whose key note is encrypted
  note             BYTEA,              -- encrypted: comment and reason of a correction
  prior_idx        BIGINT,           -- position of the revision that this one corrects
  prior_ordinal    BIGINT,
  PRIMARY KEY (idx, ordinal)
);
-- Finds the illness of a year without the marks of other codes.
CREATE INDEX marks_illness ON marks (placement, date, slot) WHERE code = 'I';
