package s3_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
)

// update makes the suite write its record.
var _ = flag.Bool("update", false, "write the record of the conformance run")

func TestConformance(t *testing.T) {
	conforms(t, "json", "testdata/conformance/versitygw.json", "versitygw 1.8", false)
}

// Payloads are read from files: see sdk/destinationtest.Harness.Extents.
func TestConformanceExtents(t *testing.T) {
	conforms(t, "json", "", "versitygw 1.8", true)
}

func TestConformanceParquet(t *testing.T) {
	conforms(t, "parquet", "testdata/conformance/versitygw-parquet.json", "versitygw 1.8, format parquet", false)
}

func conforms(t *testing.T, format, record, service string, extents bool) {
	server := standin.StartS3(t, "lake")
	var places atomic.Int64
	target := func(at destinationtest.Place) laketest.Target {
		prefix, _ := at.Config["prefix"].(string)
		return laketest.Target{
			Files: os.DirFS(filepath.Join(server.Dir, "lake", prefix)), ProjectID: at.Project.ID,
			Pipeline: at.Pipeline, PipelineID: at.PipelineID, Stream: at.Stream,
		}
	}
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	destinationtest.Run(t, destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-s3",
		Record:  record,
		Extents: extents,
		Service: destinationtest.Service{Name: service, Kind: destinationtest.Emulator},
		Config: func(destinationtest.T) map[string]any {
			return map[string]any{
				"bucket": "lake", "region": "us-east-1", "endpoint": server.Endpoint,
				"access_key_id": server.AccessKey, "secret_access_key": server.SecretKey,
				"prefix": fmt.Sprintf("place/%d", places.Add(1)), "format": format,
			}
		},
		Bad: []destinationtest.BadConfig{
			{Name: "bucket with a folder", Change: set("bucket", "lake/a"), Attributes: []string{"bucket"}},
			{Name: "endpoint without a scheme", Change: set("endpoint", "127.0.0.1:9000"), Attributes: []string{"endpoint"}},
			{Name: "unknown encryption", Change: set("encryption", "rot13"), Attributes: []string{"encryption"}},
			{Name: "key without kms", Change: set("kms_key_id", "alias/x"), Attributes: []string{"kms_key_id"}},
			{Name: "role without an ARN", Change: set("role_arn", "export"), Attributes: []string{"role_arn"}},
			{Name: "half a key", Change: func(c map[string]any) { delete(c, "secret_access_key") }, Attributes: []string{"secret_access_key"}},
			{Name: "two mistakes", Change: func(c map[string]any) { c["region"], c["prefix"] = "US West", "a//b" }, Attributes: []string{"region", "prefix"}},
		},
		Read: func(_ context.Context, at destinationtest.Place) (map[string][]string, error) {
			return target(at).Committed()
		},
		Objects: func(_ context.Context, at destinationtest.Place) (map[string]string, error) {
			return target(at).Objects()
		},
		Harm: func(ctx context.Context, _ destinationtest.Place, object string, change func([]byte) []byte) error {
			return server.Change(ctx, "lake", object, change)
		},
		Unnamed: laketest.Unnamed,
	})
}
