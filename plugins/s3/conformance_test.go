package s3_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
)

// update makes the suite write its record.
var _ = flag.Bool("update", false, "write the record of the conformance run")

func TestConformance(t *testing.T) {
	conforms(t, "json", "testdata/conformance/versitygw.json", "versitygw 1.8")
}

func TestConformanceParquet(t *testing.T) {
	conforms(t, "parquet", "testdata/conformance/versitygw-parquet.json", "versitygw 1.8, format parquet")
}

func conforms(t *testing.T, format, record, service string) {
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
	stranger := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	destinationtest.Run(t, destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-s3",
		Record:  record,
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
			return harm(ctx, stranger, object, change)
		},
		Unnamed: laketest.Unnamed,
	})
}

// harm changes an object as a stranger to Penstock does: through the service, so
// that the service's checksum is that of the new bytes.
func harm(ctx context.Context, client *s3.Client, object string, change func([]byte) []byte) error {
	bucket := aws.String("lake")
	var data []byte
	found, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &object})
	if missing := new(types.NoSuchKey); err != nil && !errors.As(err, &missing) {
		return err
	}
	if err == nil {
		defer found.Body.Close()
		if data, err = io.ReadAll(found.Body); err != nil {
			return err
		}
	}
	if data = change(data); data == nil {
		_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &object})
		return err
	}
	_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &object, Body: bytes.NewReader(data)})
	return err
}
