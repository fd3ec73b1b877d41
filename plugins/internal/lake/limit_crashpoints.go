//go:build crashpoints

package lake

import (
	"os"
	"strconv"
)

// In a build for tests the environment may say that sets are large earlier.
func init() {
	if limit, err := strconv.ParseInt(os.Getenv("PENSTOCK_OBJECT_LIMIT"), 10, 64); err == nil {
		DefaultObjectLimit = limit
	}
}
