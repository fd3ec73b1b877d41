package gcsbucket

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// config is a destination block's body.
type config struct {
	Bucket      string `json:"bucket"`
	Region      string `json:"region"`
	Prefix      string `json:"prefix"`
	Format      string `json:"format"`
	Endpoint    string `json:"endpoint"`
	Credentials string `json:"credentials"`
	Impersonate string `json:"impersonate"`
	KMSKey      string `json:"kms_key"`

	iam http.RoundTripper // to IAM Credentials; nil: the default
	// files reports that the bucket holds files of another destination, which replaces no
	// sets: there are no fences, and nothing is put aside.
	files bool
}

func attributes() schema.Schema {
	text := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Description: description}
	}
	return schema.Schema{Attributes: slices.Concat([]schema.Attribute{
		{Name: "bucket", Type: schema.String, Required: true, Description: "The bucket to write to. It must exist."},
		text("region", "The location that the bucket must be in, as in \"us-central1\"; check compares it. Without it any location."),
		text("prefix", "Text before the project's id in the names of objects: \"exports/mixpanel\"."),
		{
			Name: "format", Type: schema.String, Default: "json", Allowed: formats.Names(),
			Description: formats.Description("objects"),
		},
		text("endpoint", "The URL of another server that speaks Cloud Storage's JSON API. Without it Google's."),
	}, gcp.Attributes(), []schema.Attribute{
		text("kms_key", "The Cloud KMS key that encrypts the objects: \"projects/P/locations/L/keyRings/R/cryptoKeys/K\". Without it the bucket's default."),
	})}
}

var (
	regionName = regexp.MustCompile(`^[a-zA-Z0-9-]+$`)
	kmsKey     = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)
)

// check adds the mistakes that the schema cannot find.
func (c config) check(found sdk.Diagnostics) error {
	add := func(attribute, summary, detail string) {
		found = append(found, sdk.Diagnostic{Severity: sdk.SeverityError, Attribute: attribute, Summary: summary, Detail: detail})
	}
	wrong := func(value string, form *regexp.Regexp) bool { return value != "" && !form.MatchString(value) }
	if !gcp.BucketName.MatchString(c.Bucket) {
		add("bucket", "Bucket is not a bucket's name", fmt.Sprintf("%q: a name has 3 to 63 lower-case letters, digits, dots, hyphens and underscores, as in \"acme-lake\"; folders go into prefix.", c.Bucket))
	}
	if wrong(c.Region, regionName) {
		add("region", "Region is not a location's name", fmt.Sprintf("%q: a name looks like \"us-central1\" or \"EU\".", c.Region))
	}
	if _, err := lake.CleanPrefix(c.Prefix); err != nil {
		add("prefix", "Prefix cannot name objects", err.Error()+". Elements are separated by single slashes, as in \"exports/mixpanel\".")
	}
	c.account().Check("http://127.0.0.1:4443", add)
	if wrong(c.KMSKey, kmsKey) {
		add("kms_key", "Key is not a Cloud KMS key's name", fmt.Sprintf("%q: a name looks like \"projects/acme/locations/us/keyRings/r/cryptoKeys/k\", without a version.", c.KMSKey))
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// account selects the account that makes the requests.
func (c config) account() gcp.Credentials {
	return gcp.Credentials{KeyFile: c.Credentials, Impersonate: c.Impersonate, Scopes: []string{scope}, Endpoint: c.Endpoint, IAM: c.iam}
}
