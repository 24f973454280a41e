-- Statements of commissioner and home school about a child's sessions, beside the provider's marks; one row a revision.
CREATE TABLE statements (
  idx           BIGINT NOT NULL,
  ordinal       BIGINT NOT NULL,
  kind          BIGINT NOT NULL,  -- 1 the code in the register, 2 that the child is not expected
  placement     BYTEA NOT NULL,
  date          TEXT COLLATE "C" NOT NULL,     -- ISO
  slot          BIGINT NOT NULL,  -- as in marks
  organisation  TEXT COLLATE "C" NOT NULL,     -- whose statement it is; its key of the child encrypts note
  revision      BIGINT NOT NULL,  -- from 1
  code          TEXT COLLATE "C",              -- attendance code; NULL if the statement was withdrawn
  mark_revision BIGINT NOT NULL,  -- revision of the confirmed mark; 0 for none
  suggested     TEXT COLLATE "C" NOT NULL,     -- code that was suggested with it; empty for none
  submission_id BYTEA NOT NULL,     -- id of the confirmation or notice
  received      BIGINT NOT NULL,  -- microseconds UTC
  child         BYTEA NOT NULL,
  note          BYTEA,              -- encrypted: officer, reason of a correction, free text
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX statements_placement ON statements (placement, date);
CREATE INDEX statements_illness ON statements (placement, date, slot) WHERE code = 'I' AND kind = 1;
