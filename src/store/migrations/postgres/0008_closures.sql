-- Closures that organisations declare, one row a version.
CREATE TABLE closures (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  version_key  BYTEA NOT NULL,     -- its key in current_versions
  id           BYTEA NOT NULL,
  version      BIGINT NOT NULL,  -- from 1
  organisation TEXT COLLATE "C" NOT NULL,     -- organisation that is closed
  site         TEXT COLLATE "C" NOT NULL,     -- closed site; empty for all sites
  from_date    TEXT COLLATE "C" NOT NULL,     -- ISO
  to_date      TEXT COLLATE "C" NOT NULL,     -- ISO, inclusive
  kind         BIGINT NOT NULL,  -- apgateway.v1.ClosureKind
  code         TEXT COLLATE "C" NOT NULL,     -- attendance code for the closed sessions
  withdrawn    BIGINT NOT NULL,  -- 1 if it was declared in error
  declared     BIGINT NOT NULL,  -- microseconds UTC
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX closures_organisation ON closures (organisation, from_date);
