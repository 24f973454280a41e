-- Closures, as the organisation that is shut declares them: one row a version.
CREATE TABLE closures (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  head         BYTEA NOT NULL,     -- key of the newest version
  closure      BYTEA NOT NULL,     -- its id
  version      BIGINT NOT NULL,  -- from 1
  organisation TEXT COLLATE "C" NOT NULL,     -- who is shut
  site         TEXT COLLATE "C" NOT NULL,     -- which site; empty for all of them
  from_date    TEXT COLLATE "C" NOT NULL,     -- ISO
  to_date      TEXT COLLATE "C" NOT NULL,     -- ISO, included
  kind         BIGINT NOT NULL,  -- apgateway.v1.ClosureKind
  code         TEXT COLLATE "C" NOT NULL,     -- attendance code that registers hold for it
  withdrawn    BIGINT NOT NULL,  -- 1: it was declared in error
  declared     BIGINT NOT NULL,  -- microseconds UTC
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX closures_organisation ON closures (organisation, from_date);
