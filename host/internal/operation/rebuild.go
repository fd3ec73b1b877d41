package operation

// RebuildReport counts the restored parts of a rebuilt catalog, and names the
// others.
type RebuildReport struct {
	Segments    int64    `json:"segments"`
	Cursors     int64    `json:"cursors"`
	Rows        int64    `json:"rows"`
	Pipelines   int64    `json:"pipelines"` // that keep their ids, cursors and targets
	Runs        int64    `json:"runs"`      // of those pipelines
	OldCatalog  string   `json:"old_catalog,omitempty"`
	NotRestored []string `json:"not_restored"`
}
