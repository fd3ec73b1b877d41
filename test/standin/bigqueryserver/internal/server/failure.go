package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	bq "google.golang.org/api/bigquery/v2"
)

// failure is a refusal, with BigQuery's reason
// (https://docs.cloud.google.com/bigquery/docs/error-messages).
type failure struct {
	code     int
	reason   string
	message  string
	location string
}

func (f *failure) Error() string { return f.message }

// fail returns a refusal, whose status follows from the reason.
func fail(reason, format string, args ...any) *failure {
	return &failure{code: statusOf(reason), reason: reason, message: fmt.Sprintf(format, args...)}
}

// statusOf returns the HTTP status that belongs to a reason.
func statusOf(reason string) int {
	switch reason {
	case "notFound":
		return http.StatusNotFound
	case "duplicate":
		return http.StatusConflict
	case "conditionNotMet":
		return http.StatusPreconditionFailed
	case "accessDenied", "rateLimitExceeded", "quotaExceeded", "billingNotEnabled", "accessNotConfigured", "responseTooLarge", "blocked":
		return http.StatusForbidden
	case "authError", "required":
		return http.StatusUnauthorized
	case "backendError":
		return http.StatusServiceUnavailable
	case "internalError", "jobInternalError":
		return http.StatusInternalServerError
	case "notImplemented":
		return http.StatusNotImplemented
	}
	return http.StatusBadRequest
}

// statuses are the names of the statuses in an error's body.
var statuses = map[int]string{
	400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS",
	412: "FAILED_PRECONDITION", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE",
}

func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return fail("internalError", "the stand-in failed: %v", err)
}

func (f *failure) proto() *bq.ErrorProto {
	return &bq.ErrorProto{Reason: f.reason, Message: f.message, Location: f.location}
}

// write answers a request with the refusal.
func (f *failure) write(w http.ResponseWriter) {
	detail := map[string]string{"message": f.message, "domain": "global", "reason": f.reason}
	if f.location != "" {
		detail["location"], detail["locationType"] = f.location, "parameter"
		if f.reason == "conditionNotMet" {
			detail["locationType"] = "header"
		}
	}
	if f.reason == "accessNotConfigured" {
		detail["domain"] = "usageLimits"
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(f.code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": f.code, "message": f.message, "errors": []any{detail}, "status": statuses[f.code],
	}})
}
