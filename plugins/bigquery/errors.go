package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	cloud "cloud.google.com/go/bigquery"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

const (
	// throttleDelay is how long the host waits at least after the service said that
	// there were too many requests.
	throttleDelay = 30 * time.Second
	// quotaDelay is the same for a quota of a day.
	quotaDelay = 15 * time.Minute
)

// jobFailure is the error of a job that has ended.
type jobFailure struct {
	job     string
	reason  string
	message string
}

func (e *jobFailure) Error() string {
	return fmt.Sprintf("job %s: %s (%s)", e.job, e.message, e.reason)
}

// failureOf returns the error of a job, or nil.
func failureOf(id string, j *cloud.JobStatus) *jobFailure {
	if j == nil || j.Err() == nil {
		return nil
	}
	f := &jobFailure{job: id, message: j.Err().Error()}
	var e *cloud.Error
	if errors.As(j.Err(), &e) {
		f.reason, f.message = e.Reason, e.Message
	}
	return f
}

// The reasons after which the service asks for another try.
var transientReasons = []string{
	"backendError", "internalError", "jobBackendError", "jobInternalError", "rateLimitExceeded", "userRateLimitExceeded", "jobRateLimitExceeded", "tableUnavailable",
}

// isTransient reports whether the error of a request may be gone at the next try.
func isTransient(err error) bool {
	var classified *sdk.Error
	if errors.As(err, &classified) || errors.Is(err, context.Canceled) {
		return false
	}
	e := gcp.Answer(err)
	if e == nil {
		return true // there was no answer
	}
	return e.Code >= http.StatusInternalServerError || e.Code == http.StatusRequestTimeout || e.Code == http.StatusTooManyRequests ||
		gcp.HasReason(e, transientReasons...)
}

func hasCode(err error, code int) bool {
	e := gcp.Answer(err)
	return e != nil && e.Code == code
}

func isNotFound(err error) bool { return hasCode(err, http.StatusNotFound) }

// isConflict reports whether a statement was refused because another one changes
// the same table. The service gives such errors the reason of invalid statements.
func isConflict(message string) bool {
	return strings.Contains(message, "aborted due to concurrent update") || strings.Contains(message, "Could not serialize access")
}

// classify gives an error its class, and a hint that names the grant or the change
// that is missing.
func (s *service) classify(action string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	wrapped := fmt.Errorf("%s: %w", action, err)
	if class := new(sdk.Error); errors.As(err, &class) {
		return wrapped
	}
	if hint := s.config.account().Hint(err); hint != "" {
		return sdk.Configuration(fmt.Errorf("%s: get a token: %w", action, err), hint)
	}
	if f := new(jobFailure); errors.As(err, &f) {
		return s.refusal(wrapped, f.reason, f.message, 0)
	}
	e := gcp.Answer(err)
	if e == nil {
		return sdk.Retryable(wrapped, 0)
	}
	reason := ""
	if len(e.Errors) > 0 {
		reason = e.Errors[0].Reason
	}
	return s.refusal(wrapped, reason, e.Message+" "+e.Body, e.Code)
}

// refusal classifies a refusal of the service by its reason, its text and, if it
// was the answer to a request, its status.
func (s *service) refusal(err error, reason, text string, status int) error {
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "billing has not been enabled"), strings.Contains(lower, "free tier"), strings.Contains(lower, "bigquery sandbox"), reason == "billingNotEnabled":
		return sdk.Configuration(err, "enable billing for project "+s.config.Project+": without it (the sandbox) BigQuery refuses the statements of a commit, and deletes tables after 60 days")
	case strings.Contains(text, "SERVICE_DISABLED"), reason == "accessNotConfigured", strings.Contains(lower, "api has not been used in project"):
		return sdk.Configuration(err, "enable the API: `"+setup.Line("gcloud", "services", "enable", "bigquery.googleapis.com", "--project="+s.config.Project)+"`")
	case reason == "bytesBilledLimitExceeded", strings.Contains(lower, "limit for bytes billed"):
		return sdk.Configuration(err, "raise maximum_bytes_billed, or lower the pipeline's max_run: a commit reads the run's rows once")
	case isConflict(text), strings.Contains(text, miscounted):
		return sdk.Retryable(err, 0)
	case reason == "quotaExceeded", strings.Contains(lower, "quota exceeded"):
		return sdk.Retryable(err, quotaDelay)
	case status == http.StatusTooManyRequests, slices.Contains([]string{"rateLimitExceeded", "userRateLimitExceeded", "jobRateLimitExceeded"}, reason):
		return sdk.Retryable(err, throttleDelay)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, slices.Contains(transientReasons, reason), reason == "stopped", reason == "timeout":
		return sdk.Retryable(err, 0)
	case status == http.StatusUnauthorized:
		return sdk.Configuration(err, "the credentials are not accepted: attribute credentials holds a key that was deleted or disabled, or there are no application default credentials")
	case reason == "accessDenied", status == http.StatusForbidden:
		return sdk.Configuration(err, s.grantHint(text))
	case strings.Contains(lower, "not found: uri"):
		return sdk.Retryable(err, 0) // a newer attempt, or the bucket's rule, has deleted a staged object
	case strings.Contains(lower, "in different locations"):
		return sdk.Configuration(err, "use a staging_bucket in the dataset's location: BigQuery reads no other")
	case strings.Contains(lower, "not found: dataset"):
		return sdk.Configuration(err, s.datasetHint())
	case strings.Contains(lower, "not found: project"), strings.Contains(lower, "project does not exist"):
		return sdk.Configuration(err, "set gcp_project to the id of a project that exists")
	case strings.Contains(lower, "not found: table"), strings.Contains(lower, "not found: job"):
		return sdk.Retryable(err, 0) // the next attempt creates what it needs
	}
	return sdk.Permanent(err)
}

func (s *service) datasetHint() string {
	return "create the dataset, for instance with `" + setup.Line("bq", "--location="+s.locationName(), "mk", "--dataset", s.config.Project+":"+s.config.Dataset) +
		"`, or set create_dataset; a dataset that exists in another location than the job's is not found either: leave region out, or set it to the dataset's"
}

func (s *service) locationName() string {
	if s.config.Region != "" {
		return s.config.Region
	}
	return "EU"
}

// grantBucket returns the command that gives an account a role on the staging bucket.
func (c config) grantBucket(member, role string) []string {
	return []string{"gcloud", "storage", "buckets", "add-iam-policy-binding", "gs://" + c.StagingBucket, "--member=" + member, "--role=" + role}
}

// grantDataset returns the command that gives an account the role on the dataset.
// The service has no command of its own for it, and a statement.
func (c config) grantDataset(member string) []string {
	return []string{"bq", "query", "--project_id=" + c.Project, "--use_legacy_sql=false",
		"GRANT `" + dataRole + "` ON SCHEMA `" + c.Project + "." + c.Dataset + "` TO " + strconv.Quote(member)}
}

// grantHint names the role that has the permission of a refusal, and the command
// that grants it. The service hides tables that do not exist, or are in another region,
// behind the same text.
func (s *service) grantHint(text string) string {
	member := "serviceAccount:" + s.config.account().Account()
	p := permissionIn(text)
	if p.on == onBucket {
		return fmt.Sprintf("the service account lacks %s on the staging bucket: `%s`; loads read the bucket by the same account", p.name, setup.Line(s.config.grantBucket(member, p.role)...))
	}
	if p.on == onProject {
		return fmt.Sprintf("the service account lacks %s: `%s`", p.name,
			setup.Line("gcloud", "projects", "add-iam-policy-binding", s.config.Project, "--member="+member, "--role="+p.role))
	}
	hint := fmt.Sprintf("the service account lacks %s; grant it with %s", p.name, setup.Line(s.config.grantDataset(member)...))
	if strings.Contains(text, "or it may not exist") {
		hint += "; or the table or dataset does not exist, or the dataset is in another location than attribute region says"
	}
	return hint
}
