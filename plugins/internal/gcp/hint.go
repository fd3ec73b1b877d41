package gcp

import (
	"errors"
	"net/http"
	"strings"

	"cloud.google.com/go/auth"

	"github.com/penstock-io/penstock/sdk/setup"
)

// ActorRole lets one account act as another.
const ActorRole = "roles/iam.serviceAccountTokenCreator"

// Hint returns the next step after an error of a service that hands out tokens. It
// is empty for other errors, and for an outage, which passes.
func (c Credentials) Hint(err error) string {
	if r := new(refusal); errors.As(err, &r) {
		return c.impersonationHint(r)
	}
	var e *auth.Error
	if !errors.As(err, &e) {
		return ""
	}
	if e.Response != nil && isOutage(e.Response.StatusCode) {
		return ""
	}
	if strings.Contains(string(e.Body), "Invalid JWT") {
		return "set this machine's clock; or the key was deleted: create a new one and set credentials to it"
	}
	return "the credentials were refused: the key of attribute credentials was deleted or disabled, or the account does not exist any more"
}

// isOutage reports whether a service that hands out tokens may answer otherwise
// later.
func isOutage(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// impersonationHint names the grant that lets the credentials' account act as the
// one of attribute impersonate.
func (c Credentials) impersonationHint(r *refusal) string {
	switch {
	case isOutage(r.status):
		return ""
	case r.status == http.StatusNotFound:
		return "the account " + c.Impersonate + " of attribute impersonate does not exist"
	case strings.Contains(r.body, "SERVICE_DISABLED"):
		return "enable the API that hands out tokens: `gcloud services enable iamcredentials.googleapis.com`"
	}
	return "let the account of the credentials act as the one of attribute impersonate: `" +
		setup.Line("gcloud", "iam", "service-accounts", "add-iam-policy-binding", c.Impersonate,
			"--member=serviceAccount:"+c.caller(), "--role="+ActorRole) + "`; a new grant takes some minutes"
}
