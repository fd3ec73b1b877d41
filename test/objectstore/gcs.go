package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/penstock-io/penstock/test/standin/faultproxy"
	"github.com/penstock-io/penstock/test/standin/gcptoken"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

func gcsStore() Store {
	answer := func(status int, reason, message string) string {
		return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"errors":[{"message":%[2]q,"domain":"global","reason":%[3]q}]}}`, status, message, reason)
	}
	header := http.Header{"Content-Type": {"application/json; charset=UTF-8"}}
	reasons := map[int]string{
		http.StatusTooManyRequests: "rateLimitExceeded", http.StatusInternalServerError: "internalError", http.StatusServiceUnavailable: "backendError",
	}
	return Store{
		Type: "gcs", Start: startGCS, Account: gcsAccount,
		Faults: Faults{
			Object:   faultproxy.Match{Method: http.MethodPost, Path: "^/upload/", Query: "uploadType=multipart", Body: `"name":"[^"]*/mp_master_event/\d{4}/[^"]*-0001\.json\.gz"`},
			Part:     faultproxy.Match{Path: "^/upload/", Query: "upload_id"},
			Manifest: faultproxy.Match{Method: http.MethodPost, Path: "^/upload/", Body: `"name":"[^"]*_penstock/mp_master_event/events_out-[^"/]*\.json"`},
			Refuse: func(status int) faultproxy.Fault {
				return faultproxy.Answer(status, header, answer(status, reasons[status], "The service is busy."))
			},
			Expired: "the credentials are not accepted",
			Expire: func() faultproxy.Fault {
				return faultproxy.Expire(http.StatusUnauthorized, header, answer(http.StatusUnauthorized, "authError", "Invalid Credentials"))
			},
		},
	}
}

func startGCS(t testing.TB) *Bucket {
	tokens := gcptoken.Start(t)
	server := httptest.NewServer(&gcsserver.Server{Bucket: "lake", Location: "US", Authorize: func(token string) bool {
		_, ok := tokens.Issued(token)
		return ok
	}})
	t.Cleanup(server.Close)
	key, err := tokens.KeyFile()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newGCS(gcsAccess{bucket: "lake", endpoint: server.URL, key: key})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// gcsAccess is a bucket with the key to it.
type gcsAccess struct{ bucket, endpoint, prefix, key string }

func newGCS(a gcsAccess) (*Bucket, error) {
	options := []option.ClientOption{option.WithAuthCredentialsJSON(option.ServiceAccount, []byte(a.key)), storage.WithJSONReads()}
	if a.endpoint != "" {
		options = append(options, option.WithEndpoint(a.endpoint+"/storage/v1/"))
	}
	client, err := storage.NewClient(context.Background(), options...)
	if err != nil {
		return nil, err
	}
	b := &Bucket{
		Type: "gcs", Endpoint: a.endpoint, prefix: a.prefix, client: gcsClient{client.Bucket(a.bucket)},
		Environment: []string{"TEST_GCS_KEY=" + a.key},
	}
	b.block = func(endpoint string) string {
		text := fmt.Sprintf("  bucket      = %q\n  credentials = env(\"TEST_GCS_KEY\")\n", a.bucket)
		if endpoint != "" {
			text += fmt.Sprintf("  endpoint    = %q\n", endpoint)
		}
		if a.prefix != "" {
			text += fmt.Sprintf("  prefix      = %q\n", strings.TrimSuffix(a.prefix, "/"))
		}
		return text
	}
	return b, nil
}

// gcsAccount uses the key file that Google's tools use.
func gcsAccount(lookup func(string) (string, bool), prefix string) (*Bucket, error) {
	found, err := missing(lookup, "SMOKE_GCS_BUCKET", "GOOGLE_APPLICATION_CREDENTIALS")
	if err != nil {
		return nil, fmt.Errorf("%w; the latter is the path of a service account's key", err)
	}
	key, err := os.ReadFile(found["GOOGLE_APPLICATION_CREDENTIALS"])
	if err != nil {
		return nil, fmt.Errorf("read the file that GOOGLE_APPLICATION_CREDENTIALS names: %w", err)
	}
	b, err := newGCS(gcsAccess{bucket: found["SMOKE_GCS_BUCKET"], prefix: prefix, key: string(key)})
	if err != nil {
		return nil, fmt.Errorf("use the key that GOOGLE_APPLICATION_CREDENTIALS names: %w", err)
	}
	b.Creates = fmt.Sprintf("objects below gs://%s/%s: %s", found["SMOKE_GCS_BUCKET"], b.prefix,
		smokeCost("class A operations at about $0.005 per 1,000, class B at $0.0004"))
	return b, nil
}

type gcsClient struct{ *storage.BucketHandle }

func (c gcsClient) list(ctx context.Context, prefix string, yield func(string) error) error {
	objects := c.Objects(ctx, &storage.Query{Prefix: prefix})
	for {
		o, err := objects.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := yield(o.Name); err != nil {
			return err
		}
	}
}

func (c gcsClient) read(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.Object(name).NewReader(ctx)
}

func (c gcsClient) write(ctx context.Context, name, data string) error {
	w := c.Object(name).NewWriter(ctx)
	_, err := io.WriteString(w, data)
	return errors.Join(err, w.Close())
}

func (c gcsClient) remove(ctx context.Context, name string) error { return c.Object(name).Delete(ctx) }
