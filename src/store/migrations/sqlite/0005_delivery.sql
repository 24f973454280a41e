-- What recipients did with their deliveries.

-- One row a batch that was sent: everything in the mailbox from one cursor to another was collected.
CREATE TABLE collections (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  organisation TEXT NOT NULL,
  from_idx     INTEGER NOT NULL,
  from_ordinal INTEGER NOT NULL,
  to_idx       INTEGER NOT NULL,
  to_ordinal   INTEGER NOT NULL,
  kinds        INTEGER NOT NULL,  -- one bit a kind of delivery
  time         INTEGER NOT NULL,
  digests      BLOB NOT NULL,    -- (index, ordinal, HMAC of the content's digest) of each delivery
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX collections_organisation ON collections (organisation, to_idx, to_ordinal);

CREATE TABLE acknowledgements (
  idx           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  organisation  TEXT NOT NULL,
  delivery_idx  INTEGER NOT NULL,
  delivery_ordinal INTEGER NOT NULL,
  stage         INTEGER NOT NULL,  -- apgateway.v1.DeliveryStage
  time          INTEGER NOT NULL,
  officer       BLOB,              -- sealed: who acted on it
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
