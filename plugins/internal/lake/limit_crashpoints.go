//go:build crashpoints

package lake

import (
	"os"
	"strconv"
)

// defaultObjectLimit is what the environment says, in a build for tests, so that
// a small set is a large one.
func defaultObjectLimit() int64 {
	if limit, err := strconv.ParseInt(os.Getenv("PENSTOCK_OBJECT_LIMIT"), 10, 64); err == nil {
		return limit
	}
	return DefaultObjectLimit
}
