-- Withdrawn returns, one row each. The marks that are valid since are revisions like any other.
CREATE TABLE voids (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  return_id BYTEA NOT NULL,
  provider  TEXT COLLATE "C" NOT NULL,
  reason    BYTEA NOT NULL,  -- encrypted under the provider's key
  PRIMARY KEY (idx, ordinal)
);

-- Finds a return that stored no marks, because it has no deliveries by which it could be found.
CREATE INDEX returns_nothing ON returns (return_id) WHERE stored = 0;
