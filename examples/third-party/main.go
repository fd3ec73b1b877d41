package main

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name:    "ndjson",
		Version: "0.1.0",
		Schema: schema.Schema{Attributes: []schema.Attribute{
			{Name: "path", Type: schema.Path, Required: true, Description: "The directory to write to."},
		}},
		Capabilities: sdk.Capabilities{
			Streams:       []sdk.Stream{sdk.Events},
			Modes:         []sdk.Mode{sdk.Append},
			Partitioning:  sdk.ByUTCDate,
			Guarantee:     sdk.Idempotent,
			GuaranteeText: "A retry overwrites its own files; ledger.json says which runs are committed.",
		},
		New: open,
	})
}

// projectDir keeps the projects of one destination apart.
func projectDir(path string, project int64) string {
	return filepath.Join(path, strconv.FormatInt(project, 10))
}

func open(_ context.Context, c sdk.Config) (sdk.Destination, error) {
	var config struct {
		Path string `json:"path"`
	}
	if err := c.Decode(&config); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(config.Path) {
		return nil, sdk.Diagnostics{{
			Severity: sdk.SeverityError, Attribute: "path",
			Summary: "Path is not absolute", Detail: "Write the path from the root of the file system on.",
		}}
	}
	return &store{dir: projectDir(config.Path, c.Project.ID)}, nil
}
