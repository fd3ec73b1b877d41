package s3

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/sdk"
)

func TestEveryMistakeAtOnce(t *testing.T) {
	good := config{Bucket: "acme-lake", Region: "us-west-2", RoleARN: "arn:aws:iam::123456789012:role/export", Encryption: "kms", Endpoint: "http://127.0.0.1:9000"}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*config)
		want   []string
	}{
		{"bucket with a folder", func(c *config) { c.Bucket = "lake/a" }, []string{"bucket"}},
		{"no bucket", func(c *config) { c.Bucket = "" }, []string{"bucket"}},
		{"region", func(c *config) { c.Region = "US West" }, []string{"region"}},
		{"role", func(c *config) { c.RoleARN = "export" }, []string{"role_arn"}},
		{"owner", func(c *config) { c.ExpectedBucketOwner = "me" }, []string{"expected_bucket_owner"}},
		{"endpoint", func(c *config) { c.Endpoint = "127.0.0.1:9000" }, []string{"endpoint"}},
		{"secret in the endpoint", func(c *config) { c.Endpoint = "http://a:b@c" }, []string{"endpoint"}},
		{"half a key", func(c *config) { c.AccessKeyID = "AKID" }, []string{"secret_access_key"}},
		{"the other half", func(c *config) { c.SecretAccessKey = "s" }, []string{"access_key_id"}},
		{"token alone", func(c *config) { c.SessionToken = "s" }, []string{"session_token"}},
		{"key without kms", func(c *config) { c.Encryption, c.KMSKeyID = "aes", "k" }, []string{"kms_key_id"}},
		{"id without role", func(c *config) { c.RoleARN, c.ExternalID = "", "x" }, []string{"external_id"}},
		{"many", func(c *config) { c.Bucket, c.Region, c.Prefix, c.AccessKeyID = "", "!", "a//b", "x" }, []string{"bucket", "prefix", "region", "secret_access_key"}},
	} {
		conf := good
		c.change(&conf)
		var found sdk.Diagnostics
		if !errors.As(conf.check(), &found) {
			t.Errorf("%s: nothing was found", c.name)
		}
		var got []string
		for _, d := range found {
			got = append(got, d.Attribute)
			if d.Summary == "" || d.Detail == "" {
				t.Errorf("%s: %+v says too little", c.name, d)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestRegionIsNeeded(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	_, err := newClient(t.Context(), config{Bucket: "lake"}, sdk.Project{})
	var found sdk.Diagnostics
	if !errors.As(err, &found) || found[0].Attribute != "region" {
		t.Errorf("without a region: %v", err)
	}
	t.Setenv("AWS_REGION", "eu-west-1")
	if _, err := newClient(t.Context(), config{Bucket: "lake"}, sdk.Project{}); err != nil {
		t.Error(err)
	}
}

func TestDataIsSignedWhereSomeoneMayStandBetween(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"":                         true,
		"https://127.0.0.1:9000":   true, // the SDK's own rule holds over TLS
		"http://minio.local:9000":  true,
		"http://10.0.0.1":          true,
		"http://127.0.0.1:9000":    false,
		"http://[::1]:9000":        false,
		"http://localhost":         false,
		"http://localhost.evil.io": true,
	} {
		if signed := len(config{Endpoint: endpoint}.unsigned()) == 0; signed != want {
			t.Errorf("endpoint %q: signed is %v", endpoint, signed)
		}
	}
}
