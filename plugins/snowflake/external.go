package snowflake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// external holds the attributes of an external stage: a bucket that the plugin uploads
// to, and that the service reads through a storage integration.
type external struct {
	Integration string `json:"storage_integration"`
	URL         string `json:"stage_url"`

	Region              string `json:"stage_region"`
	Endpoint            string `json:"stage_endpoint"`
	PathStyle           *bool  `json:"stage_path_style"`
	AccessKeyID         string `json:"stage_access_key_id"`
	SecretAccessKey     string `json:"stage_secret_access_key"`
	SessionToken        string `json:"stage_session_token"`
	RoleARN             string `json:"stage_role_arn"`
	ExternalID          string `json:"stage_external_id"`
	Encryption          string `json:"stage_encryption"`
	KMSKeyID            string `json:"stage_kms_key_id"`
	ExpectedBucketOwner string `json:"stage_expected_bucket_owner"`
	Checksums           string `json:"stage_checksums"`
}

// bucketPrefix begins the names of the attributes of the bucket, which are those of the
// destination s3.
const bucketPrefix = "stage_"

// stageNames turns texts about attributes of the destination s3 into texts about those
// of an external stage.
var stageNames = strings.NewReplacer(
	"access_key_id", "stage_access_key_id", "secret_access_key", "stage_secret_access_key", "session_token", "stage_session_token",
	"role_arn", "stage_role_arn", "external_id", "stage_external_id", "kms_key_id", "stage_kms_key_id", "path_style", "stage_path_style",
	"expected_bucket_owner", "stage_expected_bucket_owner", "set region", "set stage_region", "set bucket", "set stage_url", "set checksums", "set stage_checksums",
	"encryption = ", "stage_encryption = ", "region = ", "stage_region = ", "folders belong in prefix", "folders follow it", "when endpoint is", "when stage_endpoint is",
	"since endpoint is", "since stage_endpoint is", "the attribute bucket", "the attribute stage_url", "Folders belong in prefix", "Folders belong in stage_url",
)

// externalAttributes returns the attributes of an external stage.
func externalAttributes() []schema.Attribute {
	found := []schema.Attribute{
		{Name: "storage_integration", Type: schema.String, Description: "The storage integration through which Snowflake reads the bucket of stage_url."},
		{Name: "stage_url", Type: schema.String, Description: "The place in a bucket where files wait for COPY, as in \"s3://acme-stage/penstock/\". Without it an internal stage, which needs no bucket."},
	}
	for _, a := range s3bucket.Attributes("bucket", "prefix", "format") {
		a.Name, a.Description = bucketPrefix+a.Name, "With stage_url: "+stageNames.Replace(a.Description)
		found = append(found, a)
	}
	return found
}

// isSet reports whether the configuration selects an external stage.
func (e external) isSet() bool { return e.URL != "" || e.Integration != "" }

// bucket returns the bucket of stage_url.
func (e external) bucket() s3bucket.Config {
	c := s3bucket.Config{
		Region: e.Region, Endpoint: e.Endpoint, PathStyle: e.PathStyle, AccessKeyID: e.AccessKeyID, SecretAccessKey: e.SecretAccessKey, SessionToken: e.SessionToken,
		RoleARN: e.RoleARN, ExternalID: e.ExternalID, Encryption: e.Encryption, KMSKeyID: e.KMSKeyID, ExpectedBucketOwner: e.ExpectedBucketOwner, Checksums: e.Checksums,
	}
	if u, err := url.Parse(e.URL); err == nil {
		c.Bucket, c.Prefix = u.Host, strings.Trim(u.Path, "/")
	}
	return c.Complete()
}

// stageSchemes are the protocols of S3 that a stage's URL may name: those of the
// commercial regions, of the government's and of China's.
var stageSchemes = map[string]bool{"s3": true, "s3gov": true, "s3china": true}

// check finds the mistakes in the attributes of an external stage.
func (e external) check(m *mistakes) {
	if !e.isSet() {
		for _, a := range e.used() {
			m.add(a, "Attribute is not used", "%s is for an external stage: set stage_url and storage_integration, or remove it.", a)
		}
		return
	}
	switch {
	case e.URL == "":
		m.add("stage_url", "URL of the stage is missing", "storage_integration is set: set stage_url to a place that the integration allows, as in \"s3://acme-stage/penstock/\".")
	case e.Integration == "":
		m.add("storage_integration", "Storage integration is missing", "stage_url is set: set storage_integration to the integration through which Snowflake reads it.")
	}
	if e.Integration != "" && !isName(e.Integration) {
		m.addName("storage_integration", e.Integration)
	}
	if e.URL != "" && e.checkURL(m) {
		e.checkBucket(m)
	}
}

// used returns the attributes of the bucket that have a value.
func (e external) used() []string {
	var names []string
	for _, a := range []struct{ name, value string }{
		{"stage_region", e.Region}, {"stage_endpoint", e.Endpoint}, {"stage_access_key_id", e.AccessKeyID}, {"stage_secret_access_key", e.SecretAccessKey},
		{"stage_session_token", e.SessionToken}, {"stage_role_arn", e.RoleARN}, {"stage_external_id", e.ExternalID}, {"stage_kms_key_id", e.KMSKeyID},
		{"stage_expected_bucket_owner", e.ExpectedBucketOwner},
	} {
		if a.value != "" {
			names = append(names, a.name)
		}
	}
	return names
}

// checkURL checks the form of the stage's URL.
func (e external) checkURL(m *mistakes) bool {
	u, err := url.Parse(e.URL)
	if err == nil && (u.Scheme == "gcs" || u.Scheme == "gs" || u.Scheme == "azure") {
		m.add("stage_url", "Cloud of the stage is not supported", "%q: this version uploads to buckets of Amazon S3 (s3://) only. Remove stage_url and storage_integration: an internal stage works in accounts on every cloud.", e.URL)
		return false
	}
	if err != nil || !stageSchemes[u.Scheme] || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(e.URL, `'"\%`+"\x00\n") {
		m.add("stage_url", "Not the URL of a bucket", "%q: a URL looks like \"s3://acme-stage/penstock/\": the bucket, and folders without quotes, backslashes, percent signs, ? and #.", e.URL)
		return false
	}
	return true
}

// checkBucket finds the mistakes of the bucket.
func (e external) checkBucket(m *mistakes) {
	var found sdk.Diagnostics
	if !errors.As(e.bucket().Check(nil), &found) {
		return
	}
	m.found = append(m.found, asStage(found)...)
}

// asStage returns mistakes of a bucket's attributes as those of an external stage's.
func asStage(found sdk.Diagnostics) sdk.Diagnostics {
	var out sdk.Diagnostics
	for _, d := range found {
		switch d.Attribute {
		case "bucket", "prefix":
			d.Attribute = "stage_url"
		case "":
		default:
			d.Attribute = bucketPrefix + d.Attribute
		}
		d.Detail = stageNames.Replace(d.Detail)
		out = append(out, d)
	}
	return out
}

// externalStage is a stage over a bucket. The plugin uploads and removes files with
// credentials of its own, since PUT and REMOVE of an integration that may only read are
// refused; the service lists and reads.
type externalStage struct {
	config config
	store  lake.Store
	base   string // begins the names of objects, with a slash at its end
	url    string // of base
}

// newExternalStage makes no network call.
func newExternalStage(ctx context.Context, c config, project sdk.Project, buffers *parts.Pool) (*externalStage, error) {
	bucket := c.bucket()
	store, err := bucket.Store(ctx, project, buffers)
	if err != nil {
		var found sdk.Diagnostics
		if errors.As(err, &found) {
			return nil, asStage(found)
		}
		return nil, stageError(err)
	}
	base := path.Join(bucket.Prefix, fmt.Sprint(project.ID)) + "/"
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, sdk.Configuration(fmt.Errorf("read stage_url: %w", err), "")
	}
	return &externalStage{config: c, store: store, base: base, url: u.Scheme + "://" + u.Host + "/" + base}, nil
}

func (s *externalStage) name() string { return externalStageName }

func (s *externalStage) outside() bool { return true }

func (s *externalStage) create(name string) string {
	return "CREATE STAGE IF NOT EXISTS " + s.config.in(name) + " URL = " + literal(s.url) + " STORAGE_INTEGRATION = " + identifier(s.config.Integration) + " COMMENT = 'Files of Penstock that wait for COPY.'"
}

func (s *externalStage) grants(name string) string {
	return s.config.grantOn("USAGE", "STAGE", s.config.in(name)) + "; " + s.config.grantIntegration()
}

// compare refuses a stage that reads another place than the one that is written to: its
// listings would be empty.
func (s *externalStage) compare(described row) error {
	if strings.TrimSuffix(described["url"], "/") == strings.TrimSuffix(s.url, "/") {
		return nil
	}
	return sdk.Configuration(fmt.Errorf("the stage %s reads %q, and files are uploaded to %q", externalStageName, described["url"], s.url),
		"correct stage_url; or, when no run is going on: DROP STAGE "+s.config.in(externalStageName)+"; the next run creates it")
}

func (s *externalStage) relative(name string) (string, bool) { return strings.CutPrefix(name, s.url) }

// put uploads a file. The object is there as a whole or not at all.
func (s *externalStage) put(ctx context.Context, _ *session, file, _, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return spoolError(fmt.Errorf("open a spool file: %w", err))
	}
	defer func() { _ = f.Close() }()
	up, err := s.store.Create(ctx, s.base+dir+filepath.Base(file), lake.Attempt{})
	if err != nil {
		return stageError(err)
	}
	if _, err = io.Copy(up, f); err == nil {
		err = up.Finish(ctx)
	}
	if err != nil {
		aborting, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
		defer cancel()
		return stageError(errors.Join(err, up.Abort(aborting)))
	}
	return nil
}

// remove removes the files of a directory, and ends the uploads into it.
func (s *externalStage) remove(ctx context.Context, _ *session, _, dir string) error {
	var names []string
	err := s.store.List(ctx, s.base+dir, true, func(o lake.Object) error {
		names = append(names, o.Name)
		return nil
	})
	if err == nil && len(names) > 0 {
		err = s.store.Delete(ctx, names)
	}
	if err == nil {
		err = s.endUploads(ctx, dir, func(string) bool { return true })
	}
	return stageError(err)
}

// tidy ends the uploads that killed attempts of the pipeline have begun: an upload that
// is not finished is in no listing.
func (s *externalStage) tidy(ctx context.Context, run sdk.Run) error {
	return stageError(s.endUploads(ctx, pipelineDir(run), func(name string) bool {
		a, ok := attemptIn(strings.TrimPrefix(name, s.base))
		return ok && a.fence < run.Fence
	}))
}

func (s *externalStage) endUploads(ctx context.Context, dir string, match func(string) bool) error {
	ender, ok := s.store.(lake.UploadEnder)
	if !ok {
		return nil
	}
	return ender.EndUploads(ctx, s.base+dir, match)
}

// stageError returns an error of the bucket with the names of this destination's
// attributes in its hint.
func stageError(err error) error {
	e := new(sdk.Error)
	if errors.As(err, &e) && e.Hint != "" {
		changed := *e
		changed.Hint = "the bucket of stage_url: " + stageNames.Replace(e.Hint)
		return &changed
	}
	return err
}
