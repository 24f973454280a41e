-- Person passports: one row a block and version, one a share, one a decision not to share.

CREATE TABLE passport_blocks (
  idx         INTEGER NOT NULL,
  ordinal     INTEGER NOT NULL,
  sender      TEXT NOT NULL,     -- organisation whose passport it is
  child       BLOB NOT NULL,
  version     INTEGER NOT NULL,  -- the passport's etag, from 1
  kind        INTEGER NOT NULL,  -- apgateway.v1.PassportBlockKind
  sensitivity INTEGER NOT NULL,  -- apgateway.v1.Sensitivity
  block       BLOB NOT NULL,     -- sealed: apgateway.v1.PassportBlock
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX passport_blocks_version ON passport_blocks (sender, child, version);

CREATE TABLE passport_shares (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  sender    TEXT NOT NULL,
  placement BLOB NOT NULL,     -- with whose provider it is shared
  number    INTEGER NOT NULL,  -- of the sender's shares with the placement, from 1
  version   INTEGER NOT NULL,  -- version of the passport that is shared
  agreement BLOB NOT NULL,     -- under which it is
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE passport_withholdings (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  sender    TEXT NOT NULL,
  placement BLOB NOT NULL,     -- from whose provider it is withheld
  number    INTEGER NOT NULL,  -- of the sender's decisions for the placement, from 1
  kinds     INTEGER NOT NULL,  -- one bit a kind of block
  decision  BLOB NOT NULL,     -- sealed: apgateway.v1.Withholding
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
