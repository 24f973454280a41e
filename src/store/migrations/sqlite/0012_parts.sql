-- Returns in parts: one row of returns a part.
ALTER TABLE returns ADD COLUMN part  INTEGER NOT NULL DEFAULT 0;  -- from 1; 0 for a return that was sent at once
ALTER TABLE returns ADD COLUMN last  INTEGER NOT NULL DEFAULT 1;  -- 1: no further part belongs to the return
ALTER TABLE returns ADD COLUMN marks INTEGER NOT NULL DEFAULT 0;  -- marks of the return up to here; 0 where not counted
