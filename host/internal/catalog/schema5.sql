-- Version 5: failed runs say whether a person must act.

-- retryable, permanent, configuration or fenced; '': there is no error, or it is
-- from before version 5.
ALTER TABLE runs ADD COLUMN error_class TEXT NOT NULL DEFAULT '';
