-- Statements of commissioner and home school about a child's sessions, beside the provider's marks; one row a revision.
CREATE TABLE statements (
  idx           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  kind          INTEGER NOT NULL,  -- 1 the code in the register, 2 that the child is not expected
  placement     BLOB NOT NULL,
  date          TEXT NOT NULL,     -- ISO
  slot          INTEGER NOT NULL,  -- as in marks
  organisation  TEXT NOT NULL,     -- whose statement it is; its key of the child encrypts note
  revision      INTEGER NOT NULL,  -- from 1
  code          TEXT,              -- attendance code; NULL if the statement was withdrawn
  mark_revision INTEGER NOT NULL,  -- revision of the confirmed mark; 0 for none
  suggested     TEXT NOT NULL,     -- code that was suggested with it; empty for none
  submission_id BLOB NOT NULL,     -- id of the confirmation or notice
  received      INTEGER NOT NULL,  -- microseconds UTC
  child         BLOB NOT NULL,
  note          BLOB,              -- encrypted: officer, reason of a correction, free text
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX statements_placement ON statements (placement, date);
CREATE INDEX statements_illness ON statements (placement, date, slot) WHERE code = 'I' AND kind = 1;
