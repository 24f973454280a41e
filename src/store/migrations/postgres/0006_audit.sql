-- The log is read by period: from an instant to the size of the tree at it.
CREATE INDEX checkpoints_time ON checkpoints (time, size);
