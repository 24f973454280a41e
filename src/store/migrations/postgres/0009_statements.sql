-- What commissioner and home school state of a child's sessions, beside the provider's marks: one row a revision.
CREATE TABLE statements (
  idx           BIGINT NOT NULL,
  ordinal       BIGINT NOT NULL,
  stated        BIGINT NOT NULL,  -- 1 what the register holds, 2 that the child is not expected
  placement     BYTEA NOT NULL,
  date          TEXT COLLATE "C" NOT NULL,     -- ISO
  slot          BIGINT NOT NULL,  -- as in marks
  organisation  TEXT COLLATE "C" NOT NULL,     -- who states it, whose key of the child seals note
  revision      BIGINT NOT NULL,  -- from 1
  code          TEXT COLLATE "C",              -- attendance code; NULL where it was taken back
  mark_revision BIGINT NOT NULL,  -- of the mark that was confirmed; 0 where none was
  suggested     TEXT COLLATE "C" NOT NULL,     -- what was suggested with it; empty for nothing
  object        BYTEA NOT NULL,     -- id of what was sent
  received      BIGINT NOT NULL,  -- microseconds UTC
  child         BYTEA NOT NULL,
  note          BYTEA,              -- sealed: officer, reason of a correction, free text
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX statements_placement ON statements (placement, date);
