-- Returns in parts have one row of returns for each part.
ALTER TABLE returns ADD COLUMN part    BIGINT NOT NULL DEFAULT 0;  -- from 1; 0 for a return in one part
ALTER TABLE returns ADD COLUMN is_last BIGINT NOT NULL DEFAULT 1;  -- 1 if the return has no further parts
ALTER TABLE returns ADD COLUMN marks   BIGINT NOT NULL DEFAULT 0;  -- marks up to this part; 0 if not counted
