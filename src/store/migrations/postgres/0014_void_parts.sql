-- A part of a return is withdrawn by itself.
ALTER TABLE voids ADD COLUMN part BIGINT NOT NULL DEFAULT 0;  -- as in returns
