-- Withdrawn returns, one row each. The marks that are valid since are revisions like any other.
CREATE TABLE voids (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  return_id BLOB NOT NULL,
  provider  TEXT NOT NULL,
  reason    BLOB NOT NULL,  -- encrypted under the provider's key
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

-- Finds a return that stored no marks, because it has no deliveries by which it could be found.
CREATE INDEX returns_nothing ON returns (return_id) WHERE stored = 0;
