-- Version 6: a repair of committed runs holds a lease on its pipeline.

ALTER TABLE pipelines ADD COLUMN repair_owner TEXT NOT NULL DEFAULT '';
ALTER TABLE pipelines ADD COLUMN repair_expires_at INTEGER NOT NULL DEFAULT 0;    -- milliseconds, the database's clock
