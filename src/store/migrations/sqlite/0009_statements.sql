-- What commissioner and home school state of a child's sessions, beside the provider's marks: one row a revision.
CREATE TABLE statements (
  idx           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  stated        INTEGER NOT NULL,  -- 1 what the register holds, 2 that the child is not expected
  placement     BLOB NOT NULL,
  date          TEXT NOT NULL,     -- ISO
  slot          INTEGER NOT NULL,  -- as in marks
  organisation  TEXT NOT NULL,     -- who states it, whose key of the child seals note
  revision      INTEGER NOT NULL,  -- from 1
  code          TEXT,              -- attendance code; NULL where it was taken back
  mark_revision INTEGER NOT NULL,  -- of the mark that was confirmed; 0 where none was
  suggested     TEXT NOT NULL,     -- what was suggested with it; empty for nothing
  object        BLOB NOT NULL,     -- id of what was sent
  received      INTEGER NOT NULL,  -- microseconds UTC
  child         BLOB NOT NULL,
  note          BLOB,              -- sealed: officer, reason of a correction, free text
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX statements_placement ON statements (placement, date);
