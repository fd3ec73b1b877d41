package gcs_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

// update makes the suite write its record.
var _ = flag.Bool("update", false, "write the record of the conformance run")

func TestConformance(t *testing.T) {
	conforms(t, "json", "testdata/conformance/gcsserver.json", "test/standin/gcsserver")
}

func TestConformanceParquet(t *testing.T) {
	conforms(t, "parquet", "testdata/conformance/gcsserver-parquet.json", "test/standin/gcsserver, format parquet")
}

func conforms(t *testing.T, format, record, service string) {
	server := &gcsserver.Server{Bucket: "lake", Location: "US"}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	var places atomic.Int64
	target := func(at destinationtest.Place) laketest.Target {
		prefix, _ := at.Config["prefix"].(string)
		files := make(fstest.MapFS)
		for name, data := range server.Files() {
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
	destinationtest.Run(t, destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-gcs",
		Record:  record,
		Service: destinationtest.Service{Name: service, Kind: destinationtest.Fake},
		Config: func(destinationtest.T) map[string]any {
			return map[string]any{
				"bucket": "lake", "endpoint": listening.URL, "prefix": fmt.Sprintf("place/%d", places.Add(1)), "format": format,
			}
		},
		Bad: []destinationtest.BadConfig{
			{Name: "bucket with a folder", Change: set("bucket", "lake/a"), Attributes: []string{"bucket"}},
			{Name: "endpoint without a scheme", Change: set("endpoint", "127.0.0.1:9000"), Attributes: []string{"endpoint"}},
			{Name: "endpoint with a path", Change: set("endpoint", "http://127.0.0.1:9000/base"), Attributes: []string{"endpoint"}},
			{Name: "credentials that are a path", Change: set("credentials", "/etc/key.json"), Attributes: []string{"credentials"}},
			{Name: "key with a version", Change: set("kms_key", "projects/p/locations/us/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"), Attributes: []string{"kms_key"}},
			{Name: "impersonate without an at sign", Change: set("impersonate", "export"), Attributes: []string{"impersonate"}},
			{Name: "credentials from a variable that is not set", Change: set("credentials", ""), Attributes: []string{"credentials"}},
			{Name: "two mistakes", Change: func(c map[string]any) { c["region"], c["prefix"] = "US West", "a//b" }, Attributes: []string{"region", "prefix"}},
		},
		Read: func(_ context.Context, at destinationtest.Place) (map[string][]string, error) {
			return target(at).Committed()
		},
		Objects: func(_ context.Context, at destinationtest.Place) (map[string]string, error) {
			return target(at).Objects()
		},
		Harm: func(ctx context.Context, _ destinationtest.Place, object string, change func([]byte) []byte) error {
			return harm(ctx, listening.URL, object, server.Files()[object], change)
		},
		Unnamed: laketest.Unnamed,
	})
}

// harm changes an object as a stranger to Penstock does: through the service.
func harm(ctx context.Context, endpoint, object string, data []byte, change func([]byte) []byte) error {
	data = change(data)
	if data == nil {
		return send(ctx, http.MethodDelete, endpoint+"/storage/v1/b/lake/o/"+url.PathEscape(object), "", nil)
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, part := range [][]byte{[]byte("{}"), data} {
		w, err := parts.CreatePart(textproto.MIMEHeader{})
		if err == nil {
			_, err = w.Write(part)
		}
		if err != nil {
			return err
		}
	}
	if err := parts.Close(); err != nil {
		return err
	}
	address := endpoint + "/upload/storage/v1/b/lake/o?uploadType=multipart&name=" + url.QueryEscape(object)
	return send(ctx, http.MethodPost, address, "multipart/related; boundary="+parts.Boundary(), &body)
}

func send(ctx context.Context, method, address, contentType string, body io.Reader) error {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, address, answer.Status)
	}
	return nil
}
