-- Version 3: what the files of the quarantine hold, so that lost records are
-- missed.

CREATE TABLE quarantine (
  source TEXT NOT NULL,
  key    TEXT NOT NULL,
  value  BLOB NOT NULL,                      -- JSON, of package quarantine
  PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
