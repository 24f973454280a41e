-- Closures, as the organisation that is shut declares them: one row a version.
CREATE TABLE closures (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  head         BLOB NOT NULL,     -- key of the newest version
  closure      BLOB NOT NULL,     -- its id
  version      INTEGER NOT NULL,  -- from 1
  organisation TEXT NOT NULL,     -- who is shut
  site         TEXT NOT NULL,     -- which site; empty for all of them
  from_date    TEXT NOT NULL,     -- ISO
  to_date      TEXT NOT NULL,     -- ISO, included
  kind         INTEGER NOT NULL,  -- apgateway.v1.ClosureKind
  code         TEXT NOT NULL,     -- attendance code that registers hold for it
  withdrawn    INTEGER NOT NULL,  -- 1: it was declared in error
  declared     INTEGER NOT NULL,  -- microseconds UTC
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX closures_organisation ON closures (organisation, from_date);
