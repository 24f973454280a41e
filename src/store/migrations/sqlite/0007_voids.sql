-- Returns that were withdrawn, one row each. The marks that stand since are revisions like any other.
CREATE TABLE voids (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  return_id BLOB NOT NULL,
  provider  TEXT NOT NULL,
  reason    BLOB NOT NULL,  -- sealed for the provider
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

-- A return that brought nothing has no deliveries by which it could be found.
CREATE INDEX returns_nothing ON returns (return_id) WHERE stored = 0;
