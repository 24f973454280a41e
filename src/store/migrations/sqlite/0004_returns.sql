-- Attendance: returns, one row each, and marks, one row a revision.

CREATE TABLE returns (
  idx        INTEGER NOT NULL,
  ordinal    INTEGER NOT NULL,
  return_id  BLOB NOT NULL,
  provider   TEXT NOT NULL,
  is_nil     INTEGER NOT NULL,  -- 1 for a nil return: the provider declared that it has nothing to send
  stored     INTEGER NOT NULL,  -- number of stored marks, including corrections
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
  idx              INTEGER NOT NULL,
  ordinal          INTEGER NOT NULL,
  placement        BLOB NOT NULL,
  date             TEXT NOT NULL,     -- ISO
  slot             INTEGER NOT NULL,  -- 1 AM, 2 PM, 16 + minute of the day at which a timed session starts
  revision         INTEGER NOT NULL,  -- from 1
  return_id        BLOB NOT NULL,
  code             TEXT,              -- statutory code as sent
  seen             INTEGER,           -- apgateway.v1.SeenMark as sent
  end_time         INTEGER,           -- minute of the day at which a timed session ends
  minutes_late     INTEGER,
  minutes_planned  INTEGER,
  minutes_attended INTEGER,
  flags            INTEGER NOT NULL,  -- bits defined in returns/flags.rs
  suggested        TEXT,              -- code that was suggested for the home school on receipt
  received         INTEGER NOT NULL,  -- microseconds UTC
  child            BLOB NOT NULL,
  sender           TEXT NOT NULL,     -- the provider, under whose key note is encrypted
  note             BLOB,              -- encrypted: comment and reason of a correction
  prior_idx        INTEGER,           -- position of the revision that this one corrects
  prior_ordinal    INTEGER,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
-- Finds the illness of a year without the marks of other codes.
CREATE INDEX marks_illness ON marks (placement, date, slot) WHERE code = 'I';
