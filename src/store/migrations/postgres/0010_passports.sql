-- Person passports: blocks, one row a block and version; shares; and decisions not to share (withholdings).

CREATE TABLE passport_blocks (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  sender      TEXT COLLATE "C" NOT NULL,     -- organisation that owns the passport
  child       BYTEA NOT NULL,
  version     BIGINT NOT NULL,  -- the passport's etag, from 1
  kind        BIGINT NOT NULL,  -- apgateway.v1.PassportBlockKind
  sensitivity BIGINT NOT NULL,  -- apgateway.v1.Sensitivity
  block       BYTEA NOT NULL,     -- encrypted: apgateway.v1.PassportBlock
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX passport_blocks_version ON passport_blocks (sender, child, version);

CREATE TABLE passport_shares (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  sender    TEXT COLLATE "C" NOT NULL,
  placement BYTEA NOT NULL,     -- placement with whose provider it is shared
  number    BIGINT NOT NULL,  -- number of the share, from 1 for each sender and placement
  version   BIGINT NOT NULL,  -- shared version of the passport
  agreement BYTEA NOT NULL,     -- agreement under which it is shared
  PRIMARY KEY (idx, ordinal)
);

CREATE TABLE passport_withholdings (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  sender    TEXT COLLATE "C" NOT NULL,
  placement BYTEA NOT NULL,     -- placement from whose provider it is withheld
  number    BIGINT NOT NULL,  -- number of the decision, from 1 for each sender and placement
  kinds     BIGINT NOT NULL,  -- one bit for each kind of block
  decision  BYTEA NOT NULL,     -- encrypted: apgateway.v1.Withholding
  PRIMARY KEY (idx, ordinal)
);
