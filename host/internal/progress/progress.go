package progress

// Report is progress of one activity.
type Report struct {
	Stage       string `json:"stage"` // import, pull, seal, fold, export
	Name        string `json:"name"`
	Rows        int64  `json:"rows"`
	Bytes       int64  `json:"bytes"`
	Total       int64  `json:"total,omitempty"` // of Bytes; 0: not known
	Duplicates  int64  `json:"duplicates,omitempty"`
	Quarantined int64  `json:"quarantined,omitempty"`
	Done        bool   `json:"done,omitempty"`
	Text        string `json:"text,omitempty"` // a message instead of numbers
}

// Observer is told of progress, from any goroutine.
type Observer interface {
	Report(Report)
}

// Discard is an Observer that drops every report.
type Discard struct{}

// Report implements Observer.
func (Discard) Report(Report) {}
