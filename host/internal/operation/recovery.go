package operation

// Recovery is how a pipeline's destination compares with its catalog, and the
// outcome of a recovery.
type Recovery struct {
	Pipeline    string `json:"pipeline"`
	Destination string `json:"destination"`
	// Agreed is the last run that catalog and destination both have; 0: none.
	Agreed int64 `json:"agreed_run"`
	// Recorded and Committed are the last runs of the catalog and of the
	// destination.
	Recorded  int64 `json:"recorded_run"`
	Committed int64 `json:"committed_run"`
	// Differs says that the two histories are not the same.
	Differs bool `json:"differs"`
	// Untried says that no run has failed because of it, or that the run that did is in
	// the journal: the next attempt finds the destination's runs to be its own, or may.
	Untried bool `json:"untried,omitempty"`
	// NextRun is the number of the next run, after a restart.
	NextRun int64 `json:"next_run,omitempty"`
	// GoneRows came after the agreed run and cannot be sent again, since retention has
	// removed them. They are of the dates from GoneFrom to GoneTo.
	GoneRows int64  `json:"gone_rows,omitempty"`
	GoneFrom string `json:"gone_from,omitempty"`
	GoneTo   string `json:"gone_to,omitempty"`
}
