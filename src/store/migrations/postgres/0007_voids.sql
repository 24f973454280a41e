-- Returns that were withdrawn, one row each. The marks that stand since are revisions like any other.
CREATE TABLE voids (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  return_id BYTEA NOT NULL,
  provider  TEXT COLLATE "C" NOT NULL,
  reason    BYTEA NOT NULL,  -- sealed for the provider
  PRIMARY KEY (idx, ordinal)
);

-- A return that brought nothing has no deliveries by which it could be found.
CREATE INDEX returns_nothing ON returns (return_id) WHERE stored = 0;
