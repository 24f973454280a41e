-- Finds the recipient's newest batches, with whose digests an acknowledgement is compared.
CREATE INDEX collections_newest ON collections (organisation, idx, ordinal);

-- Running nodes, each with the keys of its ring. This is not a record table: each node updates its own row.
CREATE TABLE nodes (
  node BLOB NOT NULL,     -- random for each start
  name TEXT NOT NULL,     -- name for operators: host, address, process id
  keys BLOB NOT NULL,     -- (id, fingerprint) of each key
  seen INTEGER NOT NULL,  -- last announcement: microseconds UTC, by the database's clock
  PRIMARY KEY (node)
) STRICT, WITHOUT ROWID;

-- Activated keys. A node that lacks one appends nothing.
CREATE TABLE activated_keys (
  id          INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
