package s3bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

func storeFor(t *testing.T, c config) *store {
	t.Helper()
	if err := c.check(nil); err != nil {
		t.Fatal(err)
	}
	client, err := newClient(t.Context(), c, sdk.Project{ID: 7, Token: "project-token"})
	if err != nil {
		t.Fatal(err)
	}
	return newStore(client, c, parts.NewPool(partBuffers, partSize))
}

func configFor(s *standin.S3) config {
	return config{
		Bucket: "lake", Endpoint: s.Endpoint, Region: "us-east-1",
		AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey,
	}
}

func TestStore(t *testing.T) {
	server := standin.StartS3(t, "lake")
	s := storeFor(t, configFor(server))
	for i, c := range laketest.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), s, fmt.Sprintf("a/b%d/", i)); err != nil {
				t.Fatal(err)
			}
			if lent := s.buffers.Lent(); lent != 0 {
				t.Errorf("%d part buffers were not given back", lent)
			}
		})
	}
}

// Every call ends within its time limit, each page of a list too.
func TestEveryCallHasATimeLimit(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	s := storeFor(t, config{Bucket: "lake", Endpoint: server.URL, AccessKeyID: "key", SecretAccessKey: "secret"})
	s.callTimeout = time.Nanosecond
	ctx := t.Context()
	u := s.newUpload(ctx, "a", "")
	u.id = "id"
	for call, f := range map[string]func() error{
		"Read":        func() error { _, _, err := s.Read(ctx, "a", 1); return err },
		"Stat":        func() error { _, err := s.Stat(ctx, "a"); return err },
		"ReadRange":   func() error { _, err := s.ReadRange(ctx, "a", "v", 0, 1); return err },
		"WriteIf":     func() error { _, err := s.WriteIf(ctx, "a", []byte("x"), ""); return err },
		"List":        func() error { return s.List(ctx, "a", true, func(lake.Object) error { return nil }) },
		"Delete":      func() error { return s.Delete(ctx, []string{"a"}) },
		"Delete many": func() error { return s.Delete(ctx, make([]string, manyDeletes)) },
		"Fence":       func() error { _, err := s.Fence(ctx, "a", lake.NewAttempt(1, 1)); return err },
		"begin":       u.begin,
		"Send":        func() error { return u.Send(1, []byte("x")) },
		"complete":    func() error { return u.complete(ctx, nil, nil) },
		"there":       func() error { _, err := u.there(ctx); return err },
		"Abort":       func() error { return s.abort(ctx, "a", "id") },
	} {
		if err := f(); !errors.Is(err, context.DeadlineExceeded) || protocol.ClassOf(err) != protocol.Retryable {
			t.Errorf("%s: class %v of %v, want a retryable error of the deadline", call, protocol.ClassOf(err), err)
		}
	}
}
