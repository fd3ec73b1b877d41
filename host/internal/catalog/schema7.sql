-- Version 7: a pipeline that adopts a target goes on where the other one stopped.

-- The pipeline that has adopted the target; '': none. The dates stay taken for others.
ALTER TABLE targets ADD COLUMN adopted_by TEXT NOT NULL DEFAULT '';

-- Cursors know the last date that they were made with, so that to_date may change.
UPDATE pipelines SET cursor = CAST(json_set(CAST(cursor AS TEXT), '$.to', to_day) AS BLOB);
UPDATE runs SET next_cursor = CAST(json_set(CAST(next_cursor AS TEXT), '$.to',
  (SELECT to_day FROM pipelines WHERE id = runs.pipeline)) AS BLOB);
