-- The register of organisations, certificates, grants, agreements and term dates. Every record table is append-only and
-- keyed by the entry that wrote the row; version_key is the row's key in current_versions.

CREATE TABLE organisations (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  version_key  BYTEA NOT NULL,
  organisation TEXT COLLATE "C" NOT NULL,     -- <kind>/<id>
  version      BIGINT NOT NULL,  -- the etag, from 1
  display_name TEXT COLLATE "C" NOT NULL,     -- the organisation's name, not personal
  state        BIGINT NOT NULL,  -- apgateway.v1.OrganisationState
  urn          TEXT COLLATE "C",              -- GIAS unique reference number
  ukprn        TEXT COLLATE "C",              -- UK provider reference number
  state_change BYTEA,                         -- encrypted under the organisation's key: apgateway.v1.StateChange
  PRIMARY KEY (idx, ordinal)
);

CREATE TABLE certificates (
  idx          BIGINT NOT NULL,
  ordinal      BIGINT NOT NULL,
  version_key  BYTEA NOT NULL,
  sha256       BYTEA NOT NULL,     -- SHA-256 of the certificate's DER
  version      BIGINT NOT NULL,  -- from 1
  organisation TEXT COLLATE "C" NOT NULL,
  system       TEXT COLLATE "C" NOT NULL,
  not_after    BIGINT NOT NULL,  -- microseconds UTC
  state        BIGINT NOT NULL,  -- apgateway.v1.CertificateState
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX certificates_organisation ON certificates (organisation);

CREATE TABLE grants (
  idx       BIGINT NOT NULL,
  ordinal   BIGINT NOT NULL,
  version_key BYTEA NOT NULL,
  id        BYTEA NOT NULL,
  version   BIGINT NOT NULL,  -- from 1
  kind      BIGINT NOT NULL,  -- 1 processor, 2 auditor
  grantor   TEXT COLLATE "C" NOT NULL,     -- organisation that grants
  grantee   TEXT COLLATE "C" NOT NULL,     -- processor or auditor
  methods   TEXT COLLATE "C" NOT NULL,     -- short method names, comma-separated; empty for an auditor
  from_date TEXT COLLATE "C" NOT NULL,     -- first day, ISO
  to_date   TEXT COLLATE "C",              -- last day, ISO
  ended     BIGINT NOT NULL,  -- 1 once the grant was ended
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX grants_grantee ON grants (grantee);
CREATE INDEX grants_grantor ON grants (grantor);

CREATE TABLE agreements (
  idx            BIGINT NOT NULL,
  ordinal        BIGINT NOT NULL,
  id             BYTEA NOT NULL,
  version        BIGINT NOT NULL,
  state          BIGINT NOT NULL,  -- apgateway.v1.AgreementState
  parties        TEXT COLLATE "C" NOT NULL,     -- organisation ids, comma-separated, sorted
  countersigned_by TEXT COLLATE "C" NOT NULL,     -- parties that have signed, in the same format
  data_classes   TEXT COLLATE "C" NOT NULL,     -- numbers of apgateway.v1.DataClass, comma-separated
  purposes       TEXT COLLATE "C" NOT NULL,     -- numbers of apgateway.v1.Purpose
  article_6      BIGINT NOT NULL,
  article_9      BIGINT,            -- NULL for none
  schedule_1     TEXT COLLATE "C" NOT NULL,     -- paragraph of Schedule 1 DPA 2018, or empty
  from_date      TEXT COLLATE "C" NOT NULL,
  to_date        TEXT COLLATE "C" NOT NULL,
  review_by      TEXT COLLATE "C" NOT NULL,
  schedule_1_article_10 TEXT COLLATE "C" NOT NULL,  -- paragraph of Schedule 1 DPA 2018 for Article 10, or empty
  PRIMARY KEY (idx, ordinal)
);

CREATE TABLE term_dates (
  idx           BIGINT NOT NULL,
  ordinal       BIGINT NOT NULL,
  version_key   BYTEA NOT NULL,
  organisation  TEXT COLLATE "C" NOT NULL,
  academic_year BIGINT NOT NULL,  -- calendar year in which the academic year begins
  version       BIGINT NOT NULL,  -- the etag, from 1
  message       BYTEA NOT NULL,     -- apgateway.v1.TermDates, as checked
  PRIMARY KEY (idx, ordinal)
);
CREATE INDEX term_dates_organisation ON term_dates (organisation);
