-- Person passports: one row a block and version, one a share, one a decision not to share.

CREATE TABLE passport_blocks (
  idx         BIGINT NOT NULL,
  ordinal     BIGINT NOT NULL,
  sender      TEXT COLLATE "C" NOT NULL,     -- organisation whose passport it is
  child       BYTEA NOT NULL,
  version     BIGINT NOT NULL,  -- the passport's etag, from 1
  kind        BIGINT NOT NULL,  -- apgateway.v1.PassportBlockKind
  sensitivity BIGINT NOT NULL,  -- apgateway.v1.Sensitivity
  block       BYTEA NOT NULL,     -- sealed: apgateway.v1.PassportBlock
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX passport_blocks_version ON passport_blocks (sender, child, version);

CREATE TABLE passport_shares (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  sender    TEXT COLLATE "C" NOT NULL,
  placement BYTEA NOT NULL,     -- with whose provider it is shared
  number    BIGINT NOT NULL,  -- of the sender's shares with the placement, from 1
  version   BIGINT NOT NULL,  -- version of the passport that is shared
  agreement BYTEA NOT NULL,     -- under which it is
  PRIMARY KEY (idx, ordinal)
);

CREATE TABLE passport_withholdings (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  sender    TEXT COLLATE "C" NOT NULL,
  placement BYTEA NOT NULL,     -- from whose provider it is withheld
  number    BIGINT NOT NULL,  -- of the sender's decisions for the placement, from 1
  kinds     BIGINT NOT NULL,  -- one bit a kind of block
  decision  BYTEA NOT NULL,     -- sealed: apgateway.v1.Withholding
  PRIMARY KEY (idx, ordinal)
);
