package destination

import (
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Mode returns the mode of a stream's runs: events are appended, people and
// identity are replaced.
func Mode(s batch.Stream) protocol.Mode {
	if pipeline.Replaced(s) {
		return protocol.Replace
	}
	return protocol.Append
}
