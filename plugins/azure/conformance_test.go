package azure_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
)

// update makes the suite write its record.
var _ = flag.Bool("update", false, "write the record of the conformance run")

func TestConformance(t *testing.T) {
	conforms(t, "json", "testdata/conformance/azurite.json", "azurite 3.37")
}

func TestConformanceParquet(t *testing.T) {
	conforms(t, "parquet", "testdata/conformance/azurite-parquet.json", "azurite 3.37, format parquet")
}

func conforms(t *testing.T, format, record, service string) {
	server := standin.StartAzurite(t, "lake")
	var places atomic.Int64
	target := func(at destinationtest.Place) laketest.Target {
		prefix, _ := at.Config["prefix"].(string)
		files := make(fstest.MapFS)
		for name, data := range server.Files("lake") {
			if rest, ok := strings.CutPrefix(name, prefix+"/"); ok {
				files[rest] = &fstest.MapFile{Data: data}
			}
		}
		return laketest.Target{
			Files: files, ProjectID: at.Project.ID, Pipeline: at.Pipeline, PipelineID: at.PipelineID, Stream: at.Stream,
		}
	}
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	principal := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) {
			delete(c, "account_key")
			delete(c, "endpoint")
			c["client_id"], c["client_secret"], c["tenant_id"] = "11111111-2222-3333-4444-555555555555", "s3cret~value", "acme.onmicrosoft.com"
			c[name] = value
		}
	}
	destinationtest.Run(t, destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-azure",
		Record:  record,
		Service: destinationtest.Service{Name: service, Kind: destinationtest.Emulator},
		Config: func(destinationtest.T) map[string]any {
			return map[string]any{
				"storage_account": server.Account, "container": "lake", "endpoint": server.Endpoint,
				"account_key": server.Key, "prefix": fmt.Sprintf("place/%d", places.Add(1)), "format": format,
			}
		},
		Bad: []destinationtest.BadConfig{
			{Name: "account that is a URL", Change: set("storage_account", "https://acmelake.blob.core.windows.net"), Attributes: []string{"storage_account"}},
			{Name: "container with a folder", Change: set("container", "lake/a"), Attributes: []string{"container"}},
			{Name: "endpoint without a scheme", Change: set("endpoint", "127.0.0.1:10000"), Attributes: []string{"endpoint"}},
			{Name: "endpoint with a container", Change: set("endpoint", "http://127.0.0.1:10000/acmelake/lake"), Attributes: []string{"endpoint"}},
			{Name: "account key that is not base64", Change: set("account_key", "secret!"), Attributes: []string{"account_key"}},
			{Name: "two kinds of credentials", Change: set("managed_identity", true), Attributes: []string{"account_key"}},
			{Name: "client id that is a name", Change: principal("client_id", "penstock"), Attributes: []string{"client_id"}},
			{Name: "the id of a secret", Change: principal("client_secret", "11111111-2222-3333-4444-555555555555"), Attributes: []string{"client_secret"}},
			{Name: "tokens over plain http", Change: principal("endpoint", "http://127.0.0.1:10000"), Attributes: []string{"endpoint"}},
			{Name: "secret from a variable that is not set", Change: set("account_key", ""), Attributes: []string{"account_key"}},
			{Name: "two mistakes", Change: func(c map[string]any) { c["encryption_scope"], c["prefix"] = "a b", "a//b" }, Attributes: []string{"encryption_scope", "prefix"}},
		},
		Read: func(_ context.Context, at destinationtest.Place) (map[string][]string, error) {
			return target(at).Committed()
		},
		Objects: func(_ context.Context, at destinationtest.Place) (map[string]string, error) {
			return target(at).Objects()
		},
		Harm: func(ctx context.Context, _ destinationtest.Place, object string, change func([]byte) []byte) error {
			return harm(ctx, server.Container("lake").NewBlockBlobClient(object), change(server.Files("lake")[object]))
		},
		Unnamed: laketest.Unnamed,
	})
}

// harm writes a blob, or deletes it if data is nil, as a stranger to Penstock does.
func harm(ctx context.Context, blob *blockblob.Client, data []byte) error {
	if data == nil {
		_, err := blob.Delete(ctx, nil)
		return err
	}
	_, err := blob.Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), nil)
	return err
}
