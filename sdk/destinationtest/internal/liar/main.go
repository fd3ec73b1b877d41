package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest/internal/store"
	"github.com/penstock-io/penstock/sdk/schema"
)

func main() {
	lie := os.Getenv("PENSTOCK_TEST_LIE")
	if slices.Contains(wireLies, lie) {
		serveRaw(lie)
		return
	}
	p := sdk.Plugin{
		Name: "liar", Version: "1.0.0",
		Schema: schema.Schema{Attributes: []schema.Attribute{
			{Name: "path", Type: schema.Path, Required: true, Description: "The directory."},
			{Name: "format", Type: schema.String, Default: "plain", Allowed: []string{"plain"}, Description: "The format."},
			{Name: "part_size", Type: schema.Size, Default: "1MiB", Description: "Read and not used."},
		}},
		Capabilities: sdk.Capabilities{
			Streams: []sdk.Stream{sdk.Events, sdk.People, sdk.Identity}, Modes: []sdk.Mode{sdk.Append, sdk.Replace},
			Partitioning: sdk.ByUTCDate, Guarantee: sdk.Transaction, GuaranteeText: "A run is in the ledger or not.",
			Inventory: true, Repair: true,
		},
		New: func(_ context.Context, c sdk.Config) (sdk.Destination, error) {
			var config struct {
				Path     string `json:"path"`
				Format   string `json:"format"`
				PartSize int64  `json:"part_size"`
			}
			if err := c.Decode(&config); err != nil {
				return nil, err
			}
			return &store.Store{Dir: config.Path, ProjectID: c.Project.ID, Lie: lie}, nil
		},
	}
	if lie == "description_changes" {
		p.Version = fmt.Sprintf("1.0.%d", os.Getpid())
	}
	sdk.Serve(p)
}
