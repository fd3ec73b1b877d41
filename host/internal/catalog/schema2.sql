-- Version 2: runs that replace the whole of people or identity.

ALTER TABLE runs ADD COLUMN generation TEXT; -- JSON; NULL for events

CREATE TABLE generations (
  project    INTEGER NOT NULL REFERENCES projects (id),
  stream     TEXT NOT NULL,
  generation TEXT NOT NULL,                  -- JSON: the latest
  PRIMARY KEY (project, stream)
) STRICT, WITHOUT ROWID;
