-- Version 11: files that hold several seals, and rows that retention removed.

CREATE TABLE merged (
  project   INTEGER NOT NULL REFERENCES projects (id),
  to_seq    INTEGER NOT NULL,
  from_seq  INTEGER NOT NULL,
  revision  INTEGER NOT NULL,           -- how often these seals were rewritten before
  blob      TEXT NOT NULL UNIQUE,
  size      INTEGER NOT NULL,
  key_count INTEGER NOT NULL,
  replaced  BLOB,                       -- JSON: files, until the commit record is confirmed
  PRIMARY KEY (project, to_seq)
) STRICT, WITHOUT ROWID;

-- blob stays the file that the seal wrote, and is its name.
ALTER TABLE segments ADD COLUMN merged INTEGER;   -- to_seq of the file that its rows are in; NULL: blob
ALTER TABLE segments ADD COLUMN places BLOB;      -- packed: for each extent the index of its first block there

-- Rows of its dates that the journal had removed before a pipeline was registered.
CREATE TABLE pipeline_gaps (
  pipeline  TEXT PRIMARY KEY,
  row_count INTEGER NOT NULL,
  from_day  INTEGER NOT NULL,
  to_day    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest pass of package upkeep.
CREATE TABLE upkeep (
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  value BLOB NOT NULL                   -- JSON
) STRICT;
