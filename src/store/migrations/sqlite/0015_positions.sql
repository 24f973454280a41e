-- Open alerts are looked at in the order of the log: another node may commit an older id later.
DROP INDEX alerts_open;
CREATE INDEX alerts_open ON alerts (idx, ordinal) WHERE state = 1;

-- An acknowledgement is compared with the digests of the recipient's newest batches.
CREATE INDEX collections_newest ON collections (organisation, idx, ordinal);

-- Nodes that serve, each with the keys of the ring that it holds. No records: a node writes its own row.
CREATE TABLE nodes (
  node BLOB NOT NULL,     -- random, of this start
  name TEXT NOT NULL,     -- what its operator knows it by
  keys BLOB NOT NULL,     -- (id, fingerprint) of each key
  seen INTEGER NOT NULL,  -- microseconds UTC, by the database's clock
  PRIMARY KEY (node)
) STRICT, WITHOUT ROWID;

-- Keys that were activated: a node that lacks one appends nothing.
CREATE TABLE activated_keys (
  id          INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
