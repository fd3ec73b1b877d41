// Command sdkplugin is a destination plugin made with the SDK. It keeps nothing
// and says so in its log.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "sdk", Version: "0.0.1",
		Schema: schema.Schema{Attributes: []schema.Attribute{
			{Name: "where", Type: schema.String, Description: "Where to."},
		}},
		Capabilities: sdk.Capabilities{
			Streams: []sdk.Stream{sdk.Events}, Modes: []sdk.Mode{sdk.Append}, Partitioning: sdk.ByUTCDate,
			Guarantee: sdk.AtLeastOnce, GuaranteeText: "Nothing is kept.",
		},
		New: func(context.Context, sdk.Config) (sdk.Destination, error) { return nowhere{}, nil },
	})
}

type nowhere struct{}

func (nowhere) Targets() []sdk.Target { return []sdk.Target{{Stream: sdk.Events, URI: "nowhere:"}} }

func (nowhere) Write(_ context.Context, _ sdk.Run, _ sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return sdk.PartitionReceipt{Rows: r.Totals().Rows}, nil
		} else if err != nil {
			return sdk.PartitionReceipt{}, err
		}
	}
}

func (nowhere) Commit(context.Context, sdk.Run, sdk.Receipt) error {
	fmt.Fprintln(os.Stderr, "committed")
	return nil
}

func (nowhere) Status(context.Context, sdk.Run) (sdk.Status, error) {
	return sdk.Status{State: sdk.Absent}, nil
}

// Check prints a megabyte without a newline on either stream.
func (nowhere) Check(context.Context) []sdk.CheckResult {
	fmt.Print(strings.Repeat("o", 1<<20))
	fmt.Fprint(os.Stderr, strings.Repeat("e", 1<<20))
	return []sdk.CheckResult{{Action: "print", OK: true}}
}

func (nowhere) Close() error {
	fmt.Fprintln(os.Stderr, "closed")
	return nil
}
