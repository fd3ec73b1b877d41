package redshift

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
)

// throttleDelay is the shortest time before the host tries again after a service
// has throttled a request.
const throttleDelay = 10 * time.Second

// endpointHint is for a workgroup or cluster that the Data API does not know.
const endpointHint = "workgroup_arn or cluster_identifier names nothing in this region of the account: correct it, or set redshift_region"

// isCode reports whether an error is one of a service with one of the codes.
func isCode(err error, codes ...string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
}

// classify gives an error of Glue or the Data API its class, and a hint.
func classify(err error) error {
	var known *sdk.Error
	if err == nil || errors.Is(err, context.Canceled) || errors.As(err, &known) {
		return err
	}
	if failed := s3bucket.CredentialError(err); failed != nil {
		return failed
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return sdk.Retryable(err, 0)
	}
	switch api.ErrorCode() {
	case "ThrottlingException", "ActiveStatementsExceededException", "ActiveSessionsExceededException", "ResourceNumberLimitExceededException":
		return sdk.Retryable(err, throttleDelay)
	case "AccessDeniedException":
		return sdk.Configuration(err, accessHint(api.ErrorMessage()))
	case "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId":
		return sdk.Configuration(err, "access_key_id, secret_access_key or session_token is wrong")
	case "ExpiredTokenException":
		return sdk.Configuration(err, "the session token has expired: use a role or credentials that do not expire")
	case "EntityNotFoundException":
		// A table or database that is dropped during a run is created by the next
		// attempt, or refused by it with a hint.
		return sdk.Retryable(err, 0)
	case "ResourceNotFoundException":
		if strings.HasPrefix(api.ErrorMessage(), "Query ") {
			return sdk.Retryable(err, 0) // a statement or its result is gone: the next attempt starts another one
		}
		return sdk.Configuration(err, endpointHint)
	case "ValidationException":
		if strings.Contains(api.ErrorMessage(), "endpoint doesn't exist") {
			return sdk.Configuration(err, endpointHint)
		}
		if strings.Contains(api.ErrorMessage(), "has expired") {
			return sdk.Retryable(err, 0) // the next attempt looks the schema up again
		}
		return sdk.Permanent(err)
	case "InvalidInputException":
		return sdk.Permanent(err)
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() < http.StatusInternalServerError && response.HTTPStatusCode() != http.StatusTooManyRequests &&
		api.ErrorFault() == smithy.FaultClient {
		return sdk.Permanent(err)
	}
	return sdk.Retryable(err, 0)
}

// accessHint tells a missing grant of Lake Formation from a missing permission of
// IAM. Lake Formation's own API is not called: it needs permissions of its own.
func accessHint(message string) string {
	if !strings.Contains(message, "Lake Formation") {
		return "grant the action that the message names to the role or user; docs/destinations/redshift.md lists all of them"
	}
	resource, permissions := `'{"Database":{"Name":"DATABASE"}}'`, "CREATE_TABLE ALTER DESCRIBE"
	if strings.Contains(message, "on Catalog") {
		resource, permissions = `'{"Catalog":{}}'`, "CREATE_DATABASE"
	} else if namesTable(message) {
		resource, permissions = `'{"Table":{"DatabaseName":"DATABASE","TableWildcard":{}}}'`, "ALTER DESCRIBE INSERT DELETE"
	}
	return "Lake Formation governs this catalog, and the IAM policy alone is not enough: an administrator of the data lake runs " +
		"aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier=ROLE --permissions " + permissions + " --resource " + resource +
		"; for tables also DATA_LOCATION_ACCESS on the bucket's path"
}

// namesTable reports whether a message of Lake Formation is about a table of ours,
// as in "Required Describe on mp_people_data". A database may be called mp_export.
func namesTable(message string) bool {
	for _, name := range tables {
		if strings.HasSuffix(message, " on "+name) {
			return true
		}
	}
	return false
}
