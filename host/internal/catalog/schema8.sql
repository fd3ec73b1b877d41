-- Version 8: the catalog names the version of the host that opened it last.

ALTER TABLE identity ADD COLUMN host TEXT NOT NULL DEFAULT '';
