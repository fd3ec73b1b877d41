package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// The codes of errors that no operation returns.
const (
	codeUnauthorized     operation.Code = "unauthorized"
	codeWrongHost        operation.Code = "wrong_host"
	codeWrongOrigin      operation.Code = "wrong_origin"
	codeUnknownPath      operation.Code = "unknown_path"
	codeMethodNotAllowed operation.Code = "method_not_allowed"
	codeMediaType        operation.Code = "unsupported_media_type"
	codeTooLarge         operation.Code = "too_large"
	codeBusy             operation.Code = "busy"
)

// statuses are the statuses of codes that operations return.
var statuses = map[operation.Code]int{
	operation.UnknownPipeline: http.StatusNotFound, operation.UnknownRun: http.StatusNotFound, operation.UnknownSource: http.StatusNotFound,
	operation.UnknownDestination: http.StatusNotFound, operation.UnknownProject: http.StatusNotFound, operation.UnknownRecord: http.StatusNotFound,
	operation.InvalidParameter: http.StatusBadRequest, operation.Conflict: http.StatusConflict, operation.Configuration: http.StatusConflict,
	operation.DiskFull: http.StatusInsufficientStorage, operation.Stopped: http.StatusServiceUnavailable, operation.Failed: http.StatusInternalServerError,
}

// Failure is the body of an answer that is an error.
type Failure struct {
	Error Problem `json:"error"`
}

// Problem is an error.
type Problem struct {
	// Code names the kind of the error for programs. It keeps its meaning in all
	// versions; new ones may come.
	Code operation.Code `json:"code"`
	// Message says for people what happened, to which object, why, and what to do.
	Message string `json:"message"`
}

// refuse answers an error.
func refuse(w http.ResponseWriter, status int, code operation.Code, message string) {
	answer(w, status, Failure{Problem{code, message}})
}

// withoutNull gives lists and maps that JSON would write as null no elements, unless their
// fields are left out when empty. v is settable, or a pointer.
func withoutNull(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			withoutNull(v.Elem())
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		if k := v.Type().Elem().Kind(); k == reflect.Struct || k == reflect.Pointer {
			for i := range v.Len() {
				withoutNull(v.Index(i))
			}
		}
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && !(v.Field(i).IsZero() && isOptional(f)) {
				withoutNull(v.Field(i))
			}
		}
	}
}

// isOptional reports whether a field is left out of JSON when it is empty.
func isOptional(f reflect.StructField) bool {
	_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client that went away is the only reader of this error.
	_ = json.NewEncoder(w).Encode(body)
}
