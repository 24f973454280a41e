-- Person passports: blocks, one row a block and version; shares; and decisions not to share (withholdings).

CREATE TABLE passport_blocks (
  idx         INTEGER NOT NULL,
  ordinal     INTEGER NOT NULL,
  sender      TEXT NOT NULL,     -- organisation that owns the passport
  child       BLOB NOT NULL,
  version     INTEGER NOT NULL,  -- the passport's etag, from 1
  kind        INTEGER NOT NULL,  -- apgateway.v1.PassportBlockKind
  sensitivity INTEGER NOT NULL,  -- apgateway.v1.Sensitivity
  block       BLOB NOT NULL,     -- encrypted: apgateway.v1.PassportBlock
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX passport_blocks_version ON passport_blocks (sender, child, version);

CREATE TABLE passport_shares (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  sender    TEXT NOT NULL,
  placement BLOB NOT NULL,     -- placement with whose provider it is shared
  number    INTEGER NOT NULL,  -- number of the share, from 1 for each sender and placement
  version   INTEGER NOT NULL,  -- shared version of the passport
  agreement BLOB NOT NULL,     -- agreement under which it is shared
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE passport_withholdings (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  sender    TEXT NOT NULL,
  placement BLOB NOT NULL,     -- placement from whose provider it is withheld
  number    INTEGER NOT NULL,  -- number of the decision, from 1 for each sender and placement
  kinds     INTEGER NOT NULL,  -- one bit for each kind of block
  decision  BLOB NOT NULL,     -- encrypted: apgateway.v1.Withholding
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
