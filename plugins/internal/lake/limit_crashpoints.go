//go:build crashpoints

package lake

import (
	"os"
	"strconv"
)

// defaultObjectLimit reads the limit from the environment. Tests set it low, so
// that a small set is split into parts.
func defaultObjectLimit() int64 {
	if limit, err := strconv.ParseInt(os.Getenv("PENSTOCK_OBJECT_LIMIT"), 10, 64); err == nil {
		return limit
	}
	return DefaultObjectLimit
}
