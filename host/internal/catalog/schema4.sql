-- Version 4: runs are identified by their content.

CREATE TABLE identity (
  id TEXT PRIMARY KEY                   -- of this catalog: random, and kept by a copy of the file
) STRICT, WITHOUT ROWID;

INSERT INTO identity (id) VALUES (lower(hex(randomblob(16))));

ALTER TABLE runs ADD COLUMN content TEXT NOT NULL DEFAULT '';        -- digest; '': planned before version 4
ALTER TABLE runs ADD COLUMN prepared TEXT;                           -- JSON: the receipt when the commit was last asked for

-- The destination's last run, as far as the catalog knows.
ALTER TABLE pipelines ADD COLUMN committed_run INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pipelines ADD COLUMN committed_content TEXT NOT NULL DEFAULT '';

UPDATE pipelines SET committed_run = COALESCE((SELECT MAX(number) FROM runs WHERE pipeline = pipelines.id AND state = 'succeeded'), 0);
