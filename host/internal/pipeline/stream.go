package pipeline

import "github.com/penstock-io/penstock/sdk/batch"

// Replaced reports whether each run of the stream exports the whole set and
// replaces the rows of the run before.
func Replaced(s batch.Stream) bool { return s != batch.Events }
