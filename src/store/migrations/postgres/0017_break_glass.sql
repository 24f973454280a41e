-- Break-glasses: who read the passports of a child in an emergency.

CREATE TABLE break_glass (
  idx            BIGINT NOT NULL,
  ordinal        BIGINT NOT NULL,
  id             BYTEA NOT NULL,     -- the id of the exchange
  organisation   TEXT COLLATE "C" NOT NULL,     -- that read them
  placement      BYTEA NOT NULL,
  request_id     BYTEA,              -- the client's, if it sent one
  request_number BIGINT NOT NULL,  -- under that id, from 1
  day            TEXT COLLATE "C" NOT NULL,     -- in London, on which it counts
  number         BIGINT NOT NULL,  -- of the organisation on that day, from 1; 0 beyond the limit
  over_limit     BIGINT NOT NULL,  -- 1 beyond the limit of the day
  practitioner   BYTEA NOT NULL,     -- the pseudonym in the entry
  time           BIGINT NOT NULL,
  statement      BYTEA NOT NULL,     -- encrypted under the organisation's key of the child: person, reason, senders
  PRIMARY KEY (idx, ordinal)
);
