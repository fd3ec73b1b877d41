package operation

import "time"

// Upkeep describes the latest pass that removed old rows from journals, brought small
// files together and swept orphans.
type Upkeep struct {
	StartedAt   time.Time `json:"started_at"`
	FinishedAt  time.Time `json:"finished_at"`
	RowsRemoved int64     `json:"rows_removed"`
	Rewritten   int64     `json:"files_before"` // files that were rewritten
	Written     int64     `json:"files_after"`  // and those that took their place
	BytesFreed  int64     `json:"bytes_freed"`
	Swept       int64     `json:"orphans_removed"`
	Error       string    `json:"error,omitempty"`
	// CountedTo is the time by which the age of rows was counted: that of the clock
	// unless AheadSince is set.
	CountedTo time.Time `json:"counted_to,omitzero"`
	// AheadSince is when a pass first found the clock far ahead of the one before it.
	// Until it is believed no further rows become old.
	AheadSince time.Time `json:"clock_ahead_since,omitzero"`
}

// JournalStats describes the journal of one project.
type JournalStats struct {
	Project string `json:"project"`
	Seals   int64  `json:"seals"`
	Files   int64  `json:"files"`
	Bytes   int64  `json:"bytes"` // of files
	Blocks  int64  `json:"blocks"`
	// MeanBlock is the mean size of a block: bytes as stored, and of its rows.
	MeanBlock     int64      `json:"mean_block_bytes"`
	MeanBlockRows int64      `json:"mean_block_rows_bytes"`
	Keys          int64      `json:"keys"` // of files; they outlive the rows
	Days          []DayStats `json:"days"`
	// Retention is the first day that retention keeps.
	Retention string `json:"retention_keeps_from"`
	// Due are rows that the next pass removes.
	Due StatsAmount `json:"due"`
	// Held are rows that are older than the retention and kept.
	Held    []HeldRows `json:"held"`
	Orphans []string   `json:"orphans"` // files that the next pass removes
}

// StatsAmount is some rows and their bytes as stored.
type StatsAmount struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

// DayStats describes the rows of one kind and UTC date.
type DayStats struct {
	Date    string `json:"date"`
	Kind    string `json:"kind"`
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"` // as stored
	Blocks  int64  `json:"blocks"`
	Removed int64  `json:"removed_rows"` // by retention
}

// HeldRows are rows that retention would remove but for one holder.
type HeldRows struct {
	Holder string `json:"holder"` // "pipeline shop_events", "run 7 of pipeline shop_events"
	From   string `json:"from"`
	To     string `json:"to"`
	StatsAmount
}
