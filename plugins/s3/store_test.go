package s3

import (
	"fmt"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
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
