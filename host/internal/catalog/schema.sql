-- The catalog's schema, version 1. Later versions are added to migrations in
-- catalog.go and leave this file as it is.

CREATE TABLE projects (
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  timezone TEXT NOT NULL,               -- IANA name, frozen when the project is first seen
  seq      INTEGER NOT NULL DEFAULT 0   -- of the latest seal; moves by one, by compare-and-set
) STRICT;

CREATE TABLE segments (
  project   INTEGER NOT NULL REFERENCES projects (id),
  seq       INTEGER NOT NULL,
  blob      TEXT NOT NULL UNIQUE,
  size      INTEGER NOT NULL,
  sealed_at INTEGER NOT NULL,           -- milliseconds
  row_count INTEGER NOT NULL,
  bytes     INTEGER NOT NULL,           -- of blocks
  from_day  INTEGER NOT NULL,           -- UTC dates of its extents
  to_day    INTEGER NOT NULL,
  extents   BLOB NOT NULL,              -- packed, see journal.go
  cursors   BLOB,                       -- JSON, until the commit record is confirmed
  key_count INTEGER NOT NULL,
  PRIMARY KEY (project, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX segments_unrecorded ON segments (project, seq) WHERE cursors IS NOT NULL;

CREATE TABLE pending (
  blob       TEXT PRIMARY KEY,
  project    INTEGER NOT NULL REFERENCES projects (id),
  owner      TEXT NOT NULL,
  expires_at INTEGER NOT NULL           -- milliseconds, the database's clock
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
  project  INTEGER NOT NULL REFERENCES projects (id),
  source   TEXT NOT NULL,
  position TEXT NOT NULL,
  value    BLOB NOT NULL,
  PRIMARY KEY (project, source, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_runs (
  project   INTEGER NOT NULL REFERENCES projects (id),
  from_seq  INTEGER NOT NULL,
  to_seq    INTEGER NOT NULL,
  blob      TEXT NOT NULL,
  key_count INTEGER NOT NULL,
  PRIMARY KEY (project, from_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE pipelines (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  project     INTEGER NOT NULL REFERENCES projects (id),
  stream      TEXT NOT NULL,
  destination TEXT NOT NULL,
  from_day    INTEGER NOT NULL,
  to_day      INTEGER NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('active', 'paused', 'cancelled')),
  cursor      BLOB NOT NULL,            -- JSON
  fence       INTEGER NOT NULL,         -- of the latest attempt at any run
  last_run    INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  planned_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE targets (
  uri      TEXT NOT NULL,
  project  INTEGER NOT NULL,
  stream   TEXT NOT NULL,
  pipeline TEXT NOT NULL REFERENCES pipelines (id),
  from_day INTEGER NOT NULL,
  to_day   INTEGER NOT NULL,
  PRIMARY KEY (uri, project, stream, pipeline)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  pipeline         TEXT NOT NULL REFERENCES pipelines (id),
  number           INTEGER NOT NULL,
  state            TEXT NOT NULL CHECK (state IN ('planned', 'running', 'succeeded', 'failed')),
  extents          BLOB NOT NULL,       -- packed, see runs.go
  next_cursor      BLOB NOT NULL,       -- JSON: the pipeline's cursor after this run
  from_day         INTEGER NOT NULL,
  to_day           INTEGER NOT NULL,
  row_count        INTEGER NOT NULL,
  bytes            INTEGER NOT NULL,
  fence            INTEGER NOT NULL,
  owner            TEXT NOT NULL,
  lease_expires_at INTEGER NOT NULL,    -- milliseconds, the database's clock
  planned_at       INTEGER NOT NULL,
  as_of            INTEGER NOT NULL,
  finished_at      INTEGER NOT NULL,
  error            TEXT NOT NULL,
  receipt          TEXT,                -- JSON
  PRIMARY KEY (pipeline, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_open ON runs (pipeline) WHERE state <> 'succeeded';
