-- Issuers of tokens, the practitioners whom their tokens name, and the index of entries by practitioner.

CREATE TABLE issuers (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  version_key  BYTEA NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,     -- whose persons it names
  issuer       TEXT COLLATE "C" NOT NULL,     -- its name, as its tokens have it
  version      BIGINT NOT NULL,  -- the etag, from 1
  keys         BYTEA NOT NULL,     -- apgateway.v1.Issuer with its public keys alone
  ended        BIGINT NOT NULL,  -- 1 once it was ended
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX issuers_organisation ON issuers (organisation);

CREATE TABLE practitioners (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  version_key  BYTEA NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,     -- for which the person acts
  practitioner BYTEA NOT NULL,     -- key id and HMAC, of which the HMAC is the pseudonym
  version      BIGINT NOT NULL,  -- from 1
  identity     BYTEA NOT NULL,     -- encrypted under the organisation's key: issuer, subject and name
  ended        BIGINT NOT NULL,  -- 1 once the person's tokens are refused
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX practitioners_organisation ON practitioners (organisation, practitioner);

-- Index of entries by practitioner, without the newest entries: see index_progress.
CREATE TABLE practitioner_entries (
  practitioner BYTEA NOT NULL,  -- the pseudonym in the entry
  idx          BIGINT NOT NULL,
  PRIMARY KEY (practitioner, idx)
);
