-- Finds the recipient's newest batches, with whose digests an acknowledgement is compared.
CREATE INDEX collections_newest ON collections (organisation, idx, ordinal);

-- Running nodes, each with the keys of its ring. This is not a record table: each node updates its own row.
CREATE TABLE nodes (
  node BYTEA NOT NULL,     -- random for each start
  name TEXT COLLATE "C" NOT NULL,     -- name for operators: host, address, process id
  keys BYTEA NOT NULL,     -- (id, fingerprint) of each key
  seen BIGINT NOT NULL,  -- last announcement: microseconds UTC, by the database's clock
  PRIMARY KEY (node)
);

-- Activated keys. A node that lacks one appends nothing.
CREATE TABLE activated_keys (
  id          BIGINT NOT NULL,
  fingerprint BYTEA NOT NULL,
  PRIMARY KEY (id)
);
