-- Finds the size of the tree at an instant, because the log is read by period.
CREATE INDEX checkpoints_time ON checkpoints (time, size);

-- Rows that were disposed of. The leaf hash of each stays, so that the entry that wrote it still verifies.
CREATE TABLE disposed_rows (
  idx           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  entry_idx     INTEGER NOT NULL,  -- entry that wrote the row
  entry_ordinal INTEGER NOT NULL,  -- ordinal of the row; -1 for salts, reply and request id of the entry itself
  table_number  INTEGER NOT NULL,
  leaf_hash     BLOB NOT NULL,
  row_key       BLOB,           -- key in current_versions of which the row was a version
  row_version   INTEGER,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX disposed_rows_entry ON disposed_rows (entry_idx, entry_ordinal);

-- Placements of children whose keys were disposed of, because their own rows are gone.
CREATE TABLE disposed_placements (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  placement BLOB NOT NULL,
  child     BLOB NOT NULL,
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
