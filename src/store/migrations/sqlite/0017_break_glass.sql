-- Break-glasses: who read the passports of a child in an emergency.

CREATE TABLE break_glass (
  idx            INTEGER NOT NULL,
  ordinal        INTEGER NOT NULL,
  id             BLOB NOT NULL,     -- the id of the exchange
  organisation   TEXT NOT NULL,     -- that read them
  placement      BLOB NOT NULL,
  request_id     BLOB,              -- the client's, if it sent one
  request_number INTEGER NOT NULL,  -- under that id, from 1
  day            TEXT NOT NULL,     -- in London, on which it counts
  number         INTEGER NOT NULL,  -- of the organisation on that day, from 1; 0 beyond the limit
  over_limit     INTEGER NOT NULL,  -- 1 beyond the limit of the day
  practitioner   BLOB NOT NULL,     -- the pseudonym in the entry
  time           INTEGER NOT NULL,
  statement      BLOB NOT NULL,     -- encrypted under the organisation's key of the child: person, reason, senders
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
