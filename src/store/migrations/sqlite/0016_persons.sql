-- Issuers of tokens, the practitioners whom their tokens name, and the index of entries by practitioner.

CREATE TABLE issuers (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  version_key  BLOB NOT NULL,
  organisation TEXT NOT NULL,     -- whose persons it names
  issuer       TEXT NOT NULL,     -- its name, as its tokens have it
  version      INTEGER NOT NULL,  -- the etag, from 1
  keys         BLOB NOT NULL,     -- apgateway.v1.Issuer with its public keys alone
  ended        INTEGER NOT NULL,  -- 1 once it was ended
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX issuers_organisation ON issuers (organisation);

CREATE TABLE practitioners (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  version_key  BLOB NOT NULL,
  organisation TEXT NOT NULL,     -- for which the person acts
  practitioner BLOB NOT NULL,     -- key id and HMAC, of which the HMAC is the pseudonym
  version      INTEGER NOT NULL,  -- from 1
  identity     BLOB NOT NULL,     -- encrypted under the organisation's key: issuer, subject and name
  ended        INTEGER NOT NULL,  -- 1 once the person's tokens are refused
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX practitioners_organisation ON practitioners (organisation, practitioner);

-- Index of entries by practitioner, without the newest entries: see index_progress.
CREATE TABLE practitioner_entries (
  practitioner BLOB NOT NULL,  -- the pseudonym in the entry
  idx          INTEGER NOT NULL,
  PRIMARY KEY (practitioner, idx)
) STRICT, WITHOUT ROWID;
