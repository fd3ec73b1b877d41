package s3bucket

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

func TestEveryMistakeAtOnce(t *testing.T) {
	good := config{Bucket: "acme-lake", Region: "us-west-2", RoleARN: "arn:aws:iam::123456789012:role/export", Encryption: "kms", Endpoint: "http://127.0.0.1:9000"}
	if err := good.check(nil); err != nil {
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
		{"directory bucket", func(c *config) { c.Bucket = "acme--usw2-az1--x-s3" }, []string{"bucket"}},
		{"Google", func(c *config) { c.Endpoint = "https://storage.googleapis.com" }, []string{"endpoint"}},
		{"a bucket at Google", func(c *config) { c.Endpoint = "https://acme-lake.storage.googleapis.com/" }, []string{"endpoint"}},
		{"endpoint with the bucket", func(c *config) { c.Endpoint = "http://127.0.0.1:9000/acme-lake/" }, []string{"endpoint"}},
		{"endpoint with bucket and prefix", func(c *config) { c.Endpoint = "http://127.0.0.1:9000/acme-lake/exports" }, []string{"endpoint"}},
		{"endpoint with a query", func(c *config) { c.Endpoint = "http://127.0.0.1:9000/?x=1" }, []string{"endpoint"}},
		{"path and host style", func(c *config) { c.Endpoint, c.PathStyle = "http://h/base", new(bool) }, []string{"path_style"}},
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
		if !errors.As(conf.check(nil), &found) {
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

// An env() of an empty variable must not act as an absent attribute: the
// instance's role would write instead of the key's user.
func TestEmptyAttributesAreRefused(t *testing.T) {
	for attribute, refused := range map[string]bool{
		"access_key_id": true, "secret_access_key": true, "role_arn": true, "kms_key_id": true, "expected_bucket_owner": true,
		"endpoint": true, "external_id": true, "prefix": false, "session_token": false,
	} {
		_, err := open(t.Context(), sdk.Config{
			JSON: fmt.Appendf(nil, `{"bucket":"acme-lake","region":"us-west-2",%q:""}`, attribute),
		}, parts.NewPool(1, partSize))
		var found sdk.Diagnostics
		if ok := errors.As(err, &found) && slices.ContainsFunc(found, func(d sdk.Diagnostic) bool { return d.Attribute == attribute }); ok != refused {
			t.Errorf("%s = \"\": %v", attribute, err)
		}
	}
}

func TestEndpointOfTheEnvironment(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	for _, c := range []struct {
		name, attribute, general, s3, ignore string
		target                               string
	}{
		{"S3's own", "", "http://general:1", "http://s3.local:9000/", "", "s3://s3.local:9000/lake/7/mp_master_event/"},
		{"the general one", "", "http://general:1", "", "", "s3://general:1/lake/7/mp_master_event/"},
		{"the attribute", "http://mine:2", "http://general:1", "http://s3.local:9000", "", "s3://mine:2/lake/7/mp_master_event/"},
		{"ignored", "", "http://general:1", "http://s3.local:9000", "true", ""},
		{"wrong", "", "", "s3.local:9000", "", ""},
		{"with the bucket", "", "", "http://s3.local:9000/lake", "", ""},
	} {
		t.Setenv("AWS_ENDPOINT_URL", c.general)
		t.Setenv("AWS_ENDPOINT_URL_S3", c.s3)
		t.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", c.ignore)
		json := `{"bucket":"lake"}`
		if c.attribute != "" {
			json = fmt.Sprintf(`{"bucket":"lake","endpoint":%q}`, c.attribute)
		}
		d, err := open(t.Context(), sdk.Config{JSON: []byte(json), Project: sdk.Project{ID: 7}}, parts.NewPool(1, partSize))
		if c.target == "" {
			if err == nil {
				t.Errorf("%s: no mistake was found", c.name) // without the endpoint the region is missing
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := d.Targets()[0].URI; got != c.target {
			t.Errorf("%s: target is %s, want %s", c.name, got, c.target)
		}
		options := d.(*destination).store.client.Options()
		if !options.UsePathStyle || options.Region != "us-east-1" || strings.HasSuffix(*options.BaseEndpoint, "/") {
			t.Errorf("%s: path style %v, region %s, endpoint %s", c.name, options.UsePathStyle, options.Region, *options.BaseEndpoint)
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

func TestIsAmazon(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"": true, "https://s3.eu-west-1.amazonaws.com": true, "https://S3.cn-north-1.AMAZONAWS.com.cn:443/": true,
		"http://127.0.0.1:9000": false, "https://s3.amazonaws.com.example.com": false, "https://minio.local/s3.amazonaws.com": false,
	} {
		if got := (config{Endpoint: endpoint}).isAmazon(); got != want {
			t.Errorf("%q: %v, want %v", endpoint, got, want)
		}
	}
}
