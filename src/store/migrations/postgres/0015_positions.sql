-- Open alerts are looked at in the order of the log: another node may commit an older id later.
DROP INDEX alerts_open;
CREATE INDEX alerts_open ON alerts (idx, ordinal) WHERE state = 1;

-- An acknowledgement is compared with the digests of the recipient's newest batches.
CREATE INDEX collections_newest ON collections (organisation, idx, ordinal);

-- Nodes that serve, each with the keys of the ring that it holds. No records: a node writes its own row.
CREATE TABLE nodes (
  node BYTEA NOT NULL,     -- random, of this start
  name TEXT COLLATE "C" NOT NULL,     -- what its operator knows it by
  keys BYTEA NOT NULL,     -- (id, fingerprint) of each key
  seen BIGINT NOT NULL,  -- microseconds UTC, by the database's clock
  PRIMARY KEY (node)
);

-- Keys that were activated: a node that lacks one appends nothing.
CREATE TABLE activated_keys (
  id          BIGINT NOT NULL,
  fingerprint BYTEA NOT NULL,
  PRIMARY KEY (id)
);
