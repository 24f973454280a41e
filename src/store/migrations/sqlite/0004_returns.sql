-- Attendance: one row a return, one row a mark revision.

CREATE TABLE returns (
  idx        INTEGER NOT NULL,
  ordinal    INTEGER NOT NULL,
  return_id  BLOB NOT NULL,
  provider   TEXT NOT NULL,
  nil        INTEGER NOT NULL,  -- 1: declared that there was nothing to send
  stored     INTEGER NOT NULL,  -- marks stored, corrections among them
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
  idx              INTEGER NOT NULL,
  ordinal          INTEGER NOT NULL,
  placement        BLOB NOT NULL,
  date             TEXT NOT NULL,     -- ISO
  slot             INTEGER NOT NULL,  -- 1 AM, 2 PM, 16 + minute of the day of a timed session's start
  revision         INTEGER NOT NULL,  -- from 1
  return_id        BLOB NOT NULL,
  code             TEXT,              -- statutory code as sent
  seen             INTEGER,           -- apgateway.v1.SeenMark as sent
  end_minute       INTEGER,           -- of a timed session, minute of the day
  minutes_late     INTEGER,
  minutes_planned  INTEGER,
  minutes_attended INTEGER,
  flags            INTEGER NOT NULL,  -- the bits of `returns/rows.rs`
  suggested        TEXT,              -- code suggested for the home school when the mark was received
  received         INTEGER NOT NULL,  -- microseconds UTC
  child            BLOB NOT NULL,
  sender           TEXT NOT NULL,     -- the provider, whose key seals note
  note             BLOB,              -- sealed: comment and reason of a correction
  prior_idx        INTEGER,           -- place of the revision that this one corrects
  prior_ordinal    INTEGER,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
