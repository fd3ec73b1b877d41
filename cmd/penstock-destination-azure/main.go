package main

import (
	"os"
	"runtime/debug"

	"github.com/penstock-io/penstock/plugins/azure"
	"github.com/penstock-io/penstock/sdk"
)

// gcPercent keeps the process the same size however much it has written: the
// heap is buffers, which cost nothing to mark. GOGC in the environment
// overrides it.
const gcPercent = 30

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	sdk.Serve(azure.Plugin())
}
