package s3bucket

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// The values of encryption.
const (
	encryptNone = "none"
	encryptAES  = "aes"
	encryptKMS  = "kms"
)

// The values of checksums.
const (
	checksumCRC32 = "crc32"
	checksumMD5   = "md5"
	checksumNone  = "none"
)

// config is the body of a destination block, with the endpoint of the environment
// filled in.
type config struct {
	Bucket              string `json:"bucket"`
	Region              string `json:"region"`
	Prefix              string `json:"prefix"`
	Format              string `json:"format"`
	Endpoint            string `json:"endpoint"`
	PathStyle           *bool  `json:"path_style"`
	AccessKeyID         string `json:"access_key_id"`
	SecretAccessKey     string `json:"secret_access_key"`
	SessionToken        string `json:"session_token"`
	RoleARN             string `json:"role_arn"`
	ExternalID          string `json:"external_id"`
	Encryption          string `json:"encryption"`
	KMSKeyID            string `json:"kms_key_id"`
	ExpectedBucketOwner string `json:"expected_bucket_owner"`
	Checksums           string `json:"checksums"`

	endpointFrom string        // the variable that Endpoint is from; empty: the attribute
	maxBackoff   time.Duration // between two attempts at a call; 0: the default
}

func attributes() schema.Schema {
	text := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Description: description}
	}
	secret := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Sensitive: true, Description: description}
	}
	return schema.Schema{Attributes: []schema.Attribute{
		{Name: "bucket", Type: schema.String, Required: true, Description: "The bucket to write to. It must exist."},
		text("region", "The bucket's region, as in \"us-west-2\". Without it AWS_REGION or the profile's."),
		text("prefix", "The start of all object names, before the project's id, as in \"exports/mixpanel\"."),
		{
			Name: "format", Type: schema.String, Default: "json", Allowed: formats.Names(),
			Description: formats.Description("objects"),
		},
		text("endpoint", "The URL of a server that speaks S3's protocol. Without it AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else Amazon's of the region."),
		{
			Name: "path_style", Type: schema.Bool,
			Description: "Put the bucket into the URL's path rather than into its host name. Without it: true when endpoint is set.",
		},
		text("access_key_id", "A static access key. Without it AWS's default chain: environment, profile, web identity, instance role."),
		secret("secret_access_key", "The secret of access_key_id."),
		secret("session_token", "The session token of temporary keys."),
		text("role_arn", "A role to assume with the credentials above, as in \"arn:aws:iam::123456789012:role/export\"."),
		text("external_id", "The external id that the role's trust policy demands. Without it the project's token."),
		{
			Name: "encryption", Type: schema.String, Default: encryptNone, Allowed: []string{encryptNone, encryptAES, encryptKMS},
			Description: "Server-side encryption: none asks for nothing, so that the bucket's default holds; aes is SSE-S3; kms is SSE-KMS.",
		},
		text("kms_key_id", "The id, alias or ARN of the KMS key. Without it the account's default key for S3."),
		text("expected_bucket_owner", "The account id that must own the bucket; a bucket of another account is refused."),
		{
			Name: "checksums", Type: schema.String, Default: checksumCRC32, Allowed: []string{checksumCRC32, checksumMD5, checksumNone},
			Description: "The checksum that each request carries for the service to compare: crc32 (x-amz-checksum-crc32), " +
				"md5 (Content-MD5) for servers that refuse the former, none for those that refuse both.",
		},
	}}
}

// mistakes collects the diagnostics of a configuration.
type mistakes struct{ found sdk.Diagnostics }

func (m mistakes) add(attribute, summary, detail string) mistakes {
	m.found = append(m.found, sdk.Diagnostic{
		Severity: sdk.SeverityError, Attribute: attribute, Summary: summary, Detail: detail,
	})
	return m
}

func (m mistakes) err() error {
	if len(m.found) == 0 {
		return nil
	}
	return m.found
}

var (
	bucketName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{1,253}[a-zA-Z0-9]$`)
	regionName = regexp.MustCompile(`^[a-z0-9-]+$`)
	roleARN    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
)

// check finds the mistakes that the schema cannot find, and returns them together
// with those found before.
func (c config) check(found sdk.Diagnostics) error {
	m := c.checkForms(mistakes{found})
	if (c.AccessKeyID == "") != (c.SecretAccessKey == "") {
		missing, other := "access_key_id", "secret_access_key"
		if c.SecretAccessKey == "" {
			missing, other = other, missing
		}
		m = m.add(missing, "Static key lacks its other part", fmt.Sprintf("%s is set and %s is not: set both, or neither to use AWS's default chain.", other, missing))
	}
	if c.SessionToken != "" && c.AccessKeyID == "" {
		m = m.add("session_token", "A session token without its key", "session_token belongs to access_key_id and secret_access_key; set all three.")
	}
	if c.KMSKeyID != "" && c.Encryption != encryptKMS {
		m = m.add("kms_key_id", "A KMS key without KMS encryption", "kms_key_id needs encryption = \"kms\".")
	}
	if c.ExternalID != "" && c.RoleARN == "" {
		m = m.add("external_id", "An external id without a role", "external_id is used to assume a role: set role_arn.")
	}
	return m.err()
}

// checkForms checks the form of each value by itself.
func (c config) checkForms(m mistakes) mistakes {
	wrong := func(value string, form *regexp.Regexp) bool { return value != "" && !form.MatchString(value) }
	if !bucketName.MatchString(c.Bucket) {
		m = m.add("bucket", "Bucket is not a bucket's name", fmt.Sprintf("%q: a name has 3 to 63 letters, digits, dots and hyphens, as in \"acme-lake\"; folders belong in prefix.", c.Bucket))
	}
	if wrong(c.Region, regionName) {
		m = m.add("region", "Region is not a region's name", fmt.Sprintf("%q: a name looks like \"us-west-2\".", c.Region))
	}
	if wrong(c.RoleARN, roleARN) {
		m = m.add("role_arn", "Role is not a role's ARN", fmt.Sprintf("%q: an ARN looks like \"arn:aws:iam::123456789012:role/export\".", c.RoleARN))
	}
	if wrong(c.ExpectedBucketOwner, accountID) {
		m = m.add("expected_bucket_owner", "Owner is not an account id", fmt.Sprintf("%q: an account id has 12 digits.", c.ExpectedBucketOwner))
	}
	if _, err := lake.CleanPrefix(c.Prefix); err != nil {
		m = m.add("prefix", "Prefix cannot name objects", err.Error()+". Elements are separated by single slashes, as in \"exports/mixpanel\".")
	}
	m = c.checkService(m)
	return c.checkEndpoint(m)
}

// checkService refuses services that resemble S3 and lack the conditional calls
// that a lake needs.
func (c config) checkService(m mistakes) mistakes {
	if strings.HasSuffix(c.Bucket, "--x-s3") {
		m = m.add("bucket", "Bucket is a directory bucket", fmt.Sprintf("%q is a bucket of S3 Express One Zone, which lists objects without order and "+
			"whose ETags tell no versions apart: use a general purpose bucket.", c.Bucket))
	}
	if u, err := url.Parse(c.Endpoint); err == nil && (u.Hostname() == googleHost || strings.HasSuffix(u.Hostname(), "."+googleHost)) {
		m = m.add("endpoint", "Endpoint is Google Cloud Storage", "Its S3 interface knows neither If-Match nor the list of uploads that a fence needs: "+
			"use destination \"gcs\" with the same bucket and prefix.")
	}
	return m
}

const googleHost = "storage.googleapis.com"

// isAmazon reports whether the bucket is at Amazon, where IAM decides and names of
// buckets are unique, and not on a server of the attribute endpoint.
func (c config) isAmazon() bool {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" {
		return true
	}
	host := strings.ToLower(u.Hostname())
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

func (c config) checkEndpoint(m mistakes) mistakes {
	if c.Endpoint == "" {
		return m
	}
	found := len(m.found)
	if m = c.checkURL(m); c.endpointFrom != "" {
		for i := range m.found[found:] {
			m.found[found+i].Detail += fmt.Sprintf(" This one is the value of %s in the environment, since endpoint is not set.", c.endpointFrom)
		}
	}
	return m
}

func (c config) checkURL(m mistakes) mistakes {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
		return m.add("endpoint", "Endpoint is not a URL", "An endpoint is http:// or https:// with a host and no user, as in \"http://127.0.0.1:9000\".")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		m = m.add("endpoint", "Endpoint has a query", fmt.Sprintf("%q: an endpoint is scheme, host, port and, where the server has one, a path.", c.Endpoint))
	}
	path := strings.Trim(u.Path, "/")
	switch {
	case path == "":
	case path == c.Bucket || strings.HasSuffix(path, "/"+c.Bucket) || strings.HasPrefix(path, c.Bucket+"/"):
		m = m.add("endpoint", "Endpoint names the bucket", fmt.Sprintf("%q: remove %q from the endpoint; the attribute bucket names the bucket. Folders belong in prefix.", c.Endpoint, "/"+path))
	case c.PathStyle != nil && !*c.PathStyle:
		m = m.add("path_style", "Endpoint has a path", fmt.Sprintf("%q: with a path in the endpoint the bucket can only be part of the path too: leave path_style out.", c.Endpoint))
	}
	return m
}
