package s3bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// throttleDelay is the shortest time before the host tries again after the
// service has throttled a request.
const throttleDelay = 10 * time.Second

// classify gives an error of the service its class, and a hint that names the IAM
// action or the attribute to correct.
func (s *store) classify(action, name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if failed := credentialError(err); failed != nil {
		return failed
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return sdk.Retryable(err, 0)
	}
	return s.classifyCode(action, name, api.ErrorCode(), status(err), err)
}

// code returns the service's code of an error; empty if the error has none.
func code(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return api.ErrorCode()
}

func (s *store) classifyCode(action, name, code string, status int, err error) error {
	switch code {
	case "NoSuchKey", "NotFound":
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	case "NoSuchUpload":
		return fmt.Errorf("%w: %w", lake.ErrAborted, err)
	case "PreconditionFailed", "ConditionalRequestConflict":
		return fmt.Errorf("%w: %w", lake.ErrConflict, err)
	case "SlowDown", "TooManyRequests", "RequestLimitExceeded", "ThrottlingException":
		return sdk.Retryable(err, throttleDelay)
	case "RequestTimeout", "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "OperationAborted":
		return sdk.Retryable(err, 0)
	}
	hint := s.checksumHint(code, status, err)
	if hint == "" {
		hint = keyHint(err)
	}
	if hint == "" {
		hint = s.hint(action, name, code, status)
	}
	if hint != "" {
		return sdk.Configuration(err, hint)
	}
	if status == 0 || status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		return sdk.Retryable(err, 0)
	}
	return sdk.Permanent(err)
}

// checksumHint returns a hint about the attribute checksums if the service refuses
// the checksum of a request, or requires one. It is empty for other errors.
func (s *store) checksumHint(code string, status int, err error) string {
	text := strings.ToLower(err.Error())
	about := strings.Contains(text, "checksum") || strings.Contains(text, "content-md5")
	notKnown := code == "NotImplemented" || status == http.StatusNotImplemented
	switch {
	case s.sums.crc32 && (notKnown || about && status == http.StatusBadRequest):
		return "if the server does not know x-amz-checksum-crc32, set checksums = \"md5\", or \"none\" if it refuses Content-MD5 too"
	case s.sums.md5 && notKnown:
		return "if the server does not know Content-MD5, set checksums = \"none\""
	case !s.sums.crc32 && !s.sums.md5 && status == http.StatusBadRequest && (about || strings.Contains(text, "object lock")):
		return "the bucket asks for a checksum, as one with Object Lock does: set checksums = \"crc32\" or \"md5\""
	}
	return ""
}

// refusedKey finds a key and the action on it in the service's message.
var refusedKey = regexp.MustCompile(`perform: (kms:[A-Za-z]+) on (?:the )?resource:? "?(arn:[^\s"]+)`)

// keyHint returns the statement that allows the use of a key, if the service
// refuses that. It is empty for other errors.
func keyHint(err error) string {
	m := refusedKey.FindStringSubmatch(err.Error())
	if m == nil {
		return ""
	}
	return grant(m[1], actions(onKey), m[2]) + "; the key's own policy must leave it to IAM, or allow it as well"
}

// hint returns the action for a person who can correct the error. It is empty for
// errors that need no person.
func (s *store) hint(action, name, code string, status int) string {
	switch code {
	case "NoSuchBucket":
		return fmt.Sprintf("create the bucket %q in this region, or set bucket to one that exists", s.bucket)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException":
		return "access_key_id, secret_access_key or session_token is wrong"
	case "ExpiredToken", "TokenRefreshRequired":
		return "the session token has expired: use role_arn or credentials that do not expire"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301":
		return fmt.Sprintf("bucket %q is in another region: set region to its own", s.bucket)
	case "RequestTimeTooSkewed":
		return "set this machine's clock: it differs from the service's by more than 15 minutes"
	case "InvalidBucketName":
		return "bucket is not a name that the service takes"
	}
	if strings.HasPrefix(code, "KMS.") {
		return "kms_key_id names a key that cannot be used: it is disabled, being deleted, or in another region or account"
	}
	if status != http.StatusForbidden && code != "AccessDenied" {
		return ""
	}
	hint := grant(action, []string{action}, s.resource(action, name))
	if s.encrypt.algorithm == "aws:kms" && action == "s3:PutObject" {
		hint += "; with encryption = \"kms\" the key's policy must allow " + strings.Join(actions(onKey), " and ") + " as well"
	}
	return hint + "; expected_bucket_owner, where it is set, must be the account that owns the bucket"
}

// grant returns the text that asks for an action, with the statement of a policy
// that allows actions.
func grant(action string, actions []string, on string) string {
	text, err := json.Marshal(Statement(actions, []string{on}, nil))
	if err != nil {
		panic("s3: a statement cannot be encoded: " + err.Error())
	}
	return fmt.Sprintf("grant %s on %s with a statement in the identity's policy: %s", action, on, text)
}

// resource returns the ARN that a policy must name for an action.
func (s *store) resource(action, name string) string {
	if on := kindOf(action); on == onBucket || on == onUploads {
		return s.arn
	}
	for _, mark := range []string{"_penstock/", "mp_"} {
		if project, _, ok := strings.Cut(name, mark); ok {
			return s.arn + "/" + project + "*"
		}
	}
	return s.arn + "/*"
}

// credentialError classifies an error of getting credentials; it returns nil for
// other errors. A refusal has the class configuration; an outage of the service
// that issues credentials is retryable.
func credentialError(err error) error {
	for _, service := range services(err) {
		switch service {
		case "STS":
			return noCredentials(err, fault(err), "the role's trust policy must allow sts:AssumeRole to these credentials, "+
				"with the condition sts:ExternalId equal to external_id (the project's token when it is not set)")
		case "SSO", "SSO OIDC":
			return noCredentials(err, fault(err), "log in again: aws sso login")
		case "ec2imds":
			return noCredentials(err, status(err) == http.StatusNotFound,
				"set access_key_id and secret_access_key, or give the host a profile, a web identity or an instance role")
		}
	}
	return nil
}

// noCredentials returns the error of a failed attempt to get credentials. refused
// selects the class configuration. Retryable errors carry no hint, so their text
// holds it.
func noCredentials(err error, refused bool, hint string) error {
	if refused {
		return sdk.Configuration(fmt.Errorf("get credentials: %w", err), hint)
	}
	return sdk.Retryable(fmt.Errorf("get credentials: %w; if this continues: %s", err, hint), 0)
}

// services returns the names of the services whose calls are in an error,
// outermost first.
func services(err error) []string {
	var found []string
	for err != nil {
		var op *smithy.OperationError
		if !errors.As(err, &op) {
			break
		}
		found = append(found, op.ServiceID)
		err = op.Err
	}
	return found
}

// status returns the HTTP status of the answer in an error; 0 if there was none.
func status(err error) int {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil {
		return 0
	}
	return response.HTTPStatusCode()
}

// fault reports whether the service answered that the caller is at fault.
func fault(err error) bool {
	switch code(err) {
	case "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "IDPCommunicationError", "RequestTimeout":
		return false
	}
	s := status(err)
	return s >= http.StatusBadRequest && s < http.StatusInternalServerError &&
		s != http.StatusTooManyRequests && s != http.StatusRequestTimeout
}
