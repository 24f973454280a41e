-- Finds the size of the tree at an instant, because the log is read by period.
CREATE INDEX checkpoints_time ON checkpoints (time, size);
