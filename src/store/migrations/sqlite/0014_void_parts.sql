-- Each part of a return can be withdrawn separately.
ALTER TABLE voids ADD COLUMN part INTEGER NOT NULL DEFAULT 0;  -- number of the part, as in returns
