-- Collections and acknowledgements of deliveries by their recipients.

-- Collected batches, one row each: all deliveries of the mailbox between two cursors were sent.
CREATE TABLE collections (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  organisation TEXT NOT NULL,
  from_idx     INTEGER NOT NULL,
  from_ordinal INTEGER NOT NULL,
  to_idx       INTEGER NOT NULL,
  to_ordinal   INTEGER NOT NULL,
  kinds        INTEGER NOT NULL,  -- one bit for each kind of delivery
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
  officer       BLOB,              -- encrypted: the person who acted on it
  passport_sender    TEXT,    -- sender of the passport, if the start of the placement needs this acknowledgement
  passport_placement BLOB,    -- placement with which it was shared
  passport_version   INTEGER, -- version of the passport
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
