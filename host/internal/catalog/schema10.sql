-- Version 10: pipelines that are over, and how often and since when a run was tried.

-- Milliseconds; 0: the pipeline was not forgotten. A forgotten pipeline keeps its cursor
-- and the dates that it wrote, for those that come after it. Its name has its id behind a
-- '#', and is free.
ALTER TABLE pipelines ADD COLUMN forgotten_at INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN started_at INTEGER NOT NULL DEFAULT 0;    -- milliseconds; 0: not yet, or before this version
