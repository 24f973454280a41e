-- Collections and acknowledgements of deliveries by their recipients.

-- Collected batches, one row each: all deliveries of the mailbox between two cursors were sent.
CREATE TABLE collections (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,
  from_idx     BIGINT NOT NULL,
  from_ordinal BIGINT NOT NULL,
  to_idx       BIGINT NOT NULL,
  to_ordinal   BIGINT NOT NULL,
  kinds        BIGINT NOT NULL,  -- one bit for each kind of delivery
  time         BIGINT NOT NULL,
  digests      BYTEA NOT NULL,    -- (index, ordinal, HMAC of the content's digest) of each delivery
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX collections_organisation ON collections (organisation, to_idx, to_ordinal);

CREATE TABLE acknowledgements (
  idx           BIGINT NOT NULL,
  ordinal       BIGINT NOT NULL,
  organisation  TEXT COLLATE "C" NOT NULL,
  delivery_idx  BIGINT NOT NULL,
  delivery_ordinal BIGINT NOT NULL,
  stage         BIGINT NOT NULL,  -- apgateway.v1.DeliveryStage
  time          BIGINT NOT NULL,
  officer       BYTEA,              -- encrypted: the person who acted on it
  passport_sender    TEXT,    -- sender of the passport, if the start of the placement needs this acknowledgement
  passport_placement BYTEA,    -- placement with which it was shared
  passport_version   BIGINT, -- version of the passport
  PRIMARY KEY (idx, ordinal)
);
