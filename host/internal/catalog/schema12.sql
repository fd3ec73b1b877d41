-- Version 12: failed attempts at runs.

ALTER TABLE runs ADD COLUMN plugin_log TEXT NOT NULL DEFAULT '';   -- JSON: the plugin's last lines when the last attempt failed; '': none
