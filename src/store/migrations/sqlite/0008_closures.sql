-- Closures that organisations declare, one row a version.
CREATE TABLE closures (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  version_key  BLOB NOT NULL,     -- its key in current_versions
  id           BLOB NOT NULL,
  version      INTEGER NOT NULL,  -- from 1
  organisation TEXT NOT NULL,     -- organisation that is closed
  site         TEXT NOT NULL,     -- closed site; empty for all sites
  from_date    TEXT NOT NULL,     -- ISO
  to_date      TEXT NOT NULL,     -- ISO, inclusive
  kind         INTEGER NOT NULL,  -- apgateway.v1.ClosureKind
  code         TEXT NOT NULL,     -- attendance code for the closed sessions
  withdrawn    INTEGER NOT NULL,  -- 1 if it was declared in error
  declared     INTEGER NOT NULL,  -- microseconds UTC
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX closures_organisation ON closures (organisation, from_date);
