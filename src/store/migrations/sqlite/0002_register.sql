-- The register of organisations, certificates, grants, agreements and term dates. Every record table is append-only and
-- keyed by the entry that wrote the row; version_key is the row's key in current_versions.

CREATE TABLE organisations (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  version_key  BLOB NOT NULL,
  organisation TEXT NOT NULL,     -- <kind>/<id>
  version      INTEGER NOT NULL,  -- the etag, from 1
  display_name TEXT NOT NULL,     -- the organisation's name, not personal
  state        INTEGER NOT NULL,  -- apgateway.v1.OrganisationState
  urn          TEXT,              -- GIAS unique reference number
  ukprn        TEXT,              -- UK provider reference number
  state_change BLOB,              -- encrypted under the organisation's key: apgateway.v1.StateChange
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (
  idx          INTEGER NOT NULL,
  ordinal      INTEGER NOT NULL,
  version_key  BLOB NOT NULL,
  sha256       BLOB NOT NULL,     -- SHA-256 of the certificate's DER
  version      INTEGER NOT NULL,  -- from 1
  organisation TEXT NOT NULL,
  system       TEXT NOT NULL,
  not_after    INTEGER NOT NULL,  -- microseconds UTC
  state        INTEGER NOT NULL,  -- apgateway.v1.CertificateState
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_organisation ON certificates (organisation);

CREATE TABLE grants (
  idx       INTEGER NOT NULL,
  ordinal   INTEGER NOT NULL,
  version_key BLOB NOT NULL,
  id        BLOB NOT NULL,
  version   INTEGER NOT NULL,  -- from 1
  kind      INTEGER NOT NULL,  -- 1 processor, 2 auditor
  grantor   TEXT NOT NULL,     -- organisation that grants
  grantee   TEXT NOT NULL,     -- processor or auditor
  methods   TEXT NOT NULL,     -- short method names, comma-separated; empty for an auditor
  from_date TEXT NOT NULL,     -- first day, ISO
  to_date   TEXT,              -- last day, ISO
  ended     INTEGER NOT NULL,  -- 1 once the grant was ended
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_grantee ON grants (grantee);
CREATE INDEX grants_grantor ON grants (grantor);

CREATE TABLE agreements (
  idx            INTEGER NOT NULL,
  ordinal        INTEGER NOT NULL,
  id             BLOB NOT NULL,
  version        INTEGER NOT NULL,
  state          INTEGER NOT NULL,  -- apgateway.v1.AgreementState
  parties        TEXT NOT NULL,     -- organisation ids, comma-separated, sorted
  countersigned_by TEXT NOT NULL,     -- parties that have signed, in the same format
  data_classes   TEXT NOT NULL,     -- numbers of apgateway.v1.DataClass, comma-separated
  purposes       TEXT NOT NULL,     -- numbers of apgateway.v1.Purpose
  article_6      INTEGER NOT NULL,
  article_9      INTEGER,            -- NULL for none
  schedule_1     TEXT NOT NULL,     -- paragraph of Schedule 1 DPA 2018, or empty
  from_date      TEXT NOT NULL,
  to_date        TEXT NOT NULL,
  review_by      TEXT NOT NULL,
  schedule_1_article_10 TEXT NOT NULL,  -- paragraph of Schedule 1 DPA 2018 for Article 10, or empty
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE term_dates (
  idx           INTEGER NOT NULL,
  ordinal       INTEGER NOT NULL,
  version_key   BLOB NOT NULL,
  organisation  TEXT NOT NULL,
  academic_year INTEGER NOT NULL,  -- calendar year in which the academic year begins
  version       INTEGER NOT NULL,  -- the etag, from 1
  message       BLOB NOT NULL,     -- apgateway.v1.TermDates, as checked
  PRIMARY KEY (idx, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX term_dates_organisation ON term_dates (organisation);
