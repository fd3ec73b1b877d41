package gcsbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// throttleDelay is how long the host waits at least after the service said
// that there were too many requests.
const throttleDelay = 10 * time.Second

// classify gives an error of the service its class, and a hint that names the
// grant or the change that is missing. The call needs permission.
func (s *store) classify(permission string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if class := new(sdk.Error); errors.As(err, &class) {
		return err
	}
	if hint := s.connect.config.account().Hint(err); hint != "" {
		return sdk.Configuration(fmt.Errorf("get a token: %w", err), hint)
	}
	if errors.Is(err, storage.ErrBucketNotExist) {
		return sdk.Configuration(err, s.bucketHint())
	}
	if errors.Is(err, storage.ErrObjectNotExist) {
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	}
	e := gcp.Answer(err)
	if e == nil {
		return sdk.Retryable(err, 0)
	}
	switch {
	case isMissingBucket(e):
		return sdk.Configuration(err, s.bucketHint())
	case e.Code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	case e.Code == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", lake.ErrConflict, err)
	case isThrottled(e):
		return sdk.Retryable(err, throttleDelay)
	case e.Code >= http.StatusInternalServerError || e.Code == http.StatusRequestTimeout || e.Code == http.StatusConflict:
		return sdk.Retryable(err, 0)
	}
	if hint := s.hint(permission, e); hint != "" {
		return sdk.Configuration(err, hint)
	}
	return sdk.Permanent(err)
}

// isMissingBucket reports whether a refusal is for a bucket that does not exist.
func isMissingBucket(e *googleapi.Error) bool {
	return e.Code == http.StatusNotFound && strings.Contains(e.Message, "bucket does not exist")
}

// isThrottled reports whether a refusal is for too many requests. Google's APIs
// give it status 403, too.
func isThrottled(e *googleapi.Error) bool {
	return e.Code == http.StatusTooManyRequests || gcp.HasReason(e, "rateLimitExceeded", "userRateLimitExceeded")
}

func (s *store) bucketHint() string {
	return fmt.Sprintf("create the bucket, for instance with `gcloud storage buckets create gs://%s --uniform-bucket-level-access`, or set bucket to one that exists", s.bucket)
}

// hint tells a person how to mend a refusal. It is empty when a person cannot
// mend it. Messages hold names of buckets and objects: a single common word, such as
// billing, may be one of them.
func (s *store) hint(permission string, e *googleapi.Error) string {
	text := strings.ToLower(e.Message + " " + e.Body)
	switch {
	case strings.Contains(text, "retention policy"), strings.Contains(text, "underactivehold"), strings.Contains(text, "under active"):
		return "the bucket's retention policy or a hold forbids to overwrite and delete objects, which manifests and replaced sets need: remove the policy (`gcloud storage buckets update gs://" + s.bucket + " --clear-retention-period`), or use another bucket"
	case strings.Contains(text, "cloud kms"), strings.Contains(text, "cloudkms"):
		return "grant " + keyRole + " on the key to Cloud Storage's service agent (`gcloud storage service-agent --authorize-cmek=" + s.keyName() + "`); the key must be enabled and in the bucket's location"
	case strings.Contains(text, "billing account"), gcp.HasReason(e, "accountDisabled"):
		return "enable billing for the project that owns the bucket"
	case strings.Contains(text, "userproject"), strings.Contains(text, "requester pays"):
		return "the bucket has requester pays on, which is not supported: turn it off, or use another bucket"
	}
	switch e.Code {
	case http.StatusUnauthorized:
		return "the credentials are not accepted: attribute credentials holds a key that was deleted or disabled, or there are no application default credentials"
	case http.StatusForbidden:
		if m := refusedPermission.FindStringSubmatch(e.Message + e.Body); m != nil {
			permission = m[1] // to overwrite an object is to delete it too
		}
		return fmt.Sprintf("the service account lacks %s: `%s`; `penstock destinations setup` prints a role with exactly the permissions that are used",
			permission, s.grantCommand(roleOf(permission), e))
	}
	return ""
}

// grantCommand returns the command that gives the account that was refused a role
// on the bucket.
func (s *store) grantCommand(role string, e *googleapi.Error) string {
	account := s.connect.config.account().Account()
	if m := refusedAccount.FindStringSubmatch(e.Message + e.Body); m != nil {
		account = m[1]
	}
	return setup.Line("gcloud", "storage", "buckets", "add-iam-policy-binding", "gs://"+s.bucket,
		"--member=serviceAccount:"+account, "--role="+role)
}

// refusedAccount and refusedPermission find the parts of the service's message:
//
//	export@acme.iam.gserviceaccount.com does not have storage.objects.delete access to …
var (
	refusedAccount    = regexp.MustCompile(`([^@\s"]+@[^@\s"]+) does not have `)
	refusedPermission = regexp.MustCompile(`does not have (storage\.[A-Za-z.]+) access`)
)

func (s *store) keyName() string {
	if s.kmsKey != "" {
		return s.kmsKey
	}
	return "KEY"
}
