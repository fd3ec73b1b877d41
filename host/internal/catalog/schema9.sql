-- Version 9: schedules. An iteration that finds nothing to export is an iteration.

-- Milliseconds: when the pipeline was last compared with the journal; 0: it is due at once.
ALTER TABLE pipelines ADD COLUMN looked_at INTEGER NOT NULL DEFAULT 0;

UPDATE pipelines SET looked_at = planned_at;
