package localfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

func target(at destinationtest.Place) laketest.Target {
	path, _ := at.Config["path"].(string)
	return laketest.Target{
		Files: os.DirFS(path), ProjectID: at.Project.ID,
		Pipeline: at.Pipeline, PipelineID: at.PipelineID, Stream: at.Stream,
	}
}

func TestConformance(t *testing.T) {
	destinationtest.Run(t, harness("json", "testdata/conformance/filesystem.json", "a file system"))
}

// Payloads are read from files: see sdk/destinationtest.Harness.Extents.
func TestConformanceExtents(t *testing.T) {
	h := harness("json", "", "a file system")
	h.Extents = true
	destinationtest.Run(t, h)
}

func TestConformanceParquet(t *testing.T) {
	destinationtest.Run(t, harness("parquet", "testdata/conformance/filesystem-parquet.json", "a file system, format parquet"))
}

func harness(format, record, service string) destinationtest.Harness {
	return destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-localfs",
		Record:  record,
		Service: destinationtest.Service{Name: service, Kind: destinationtest.RealServer},
		Config:  func(t destinationtest.T) map[string]any { return map[string]any{"path": t.TempDir(), "format": format} },
		Bad: []destinationtest.BadConfig{
			{Name: "relative path", Change: func(c map[string]any) { c["path"] = "out" }, Attributes: []string{"path"}},
			{Name: "prefix that leaves the path", Change: func(c map[string]any) { c["prefix"] = "../up" }, Attributes: []string{"prefix"}},
			{Name: "format of a later version", Change: func(c map[string]any) { c["format"] = "orc" }, Attributes: []string{"format"}},
			{Name: "two mistakes", Change: func(c map[string]any) { c["path"], c["prefix"] = "out", "a//b" }, Attributes: []string{"path", "prefix"}},
		},
		Read: func(_ context.Context, at destinationtest.Place) (map[string][]string, error) {
			return target(at).Committed()
		},
		Objects: func(_ context.Context, at destinationtest.Place) (map[string]string, error) {
			return target(at).Objects()
		},
		Harm: func(_ context.Context, at destinationtest.Place, object string, change func([]byte) []byte) error {
			path, _ := at.Config["path"].(string)
			path = filepath.Join(path, filepath.FromSlash(object))
			data, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if data = change(data); data == nil {
				return os.Remove(path)
			}
			return os.WriteFile(path, data, 0o600)
		},
		Unnamed: laketest.Unnamed,
	}
}
