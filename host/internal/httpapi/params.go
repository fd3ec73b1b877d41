package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

// requestError is an error of a request that no operation has seen.
type requestError struct {
	status int
	code   operation.Code
	text   string
}

func (e *requestError) Error() string { return e.text }

// parameter is a field of a type of parameters.
//
//	Pipeline string `json:"-" path:"pipeline" doc:"Name of the pipeline."`   in the path
//	Limit    int    `json:"limit" max:"1000" doc:"…"`               in the query, or in the body of a POST
type parameter struct {
	name   string
	inPath bool
	field  reflect.StructField
	index  []int
}

// parametersOf returns the fields of a type of parameters, those of embedded types too.
func parametersOf(t reflect.Type) []parameter {
	var all []parameter
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		p := parameter{name: f.Tag.Get("path"), inPath: true, field: f, index: f.Index}
		if p.name == "" {
			p.name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
			p.inPath = false
		}
		all = append(all, p)
	}
	return all
}

// decode reads the parameters of a request into v, a pointer to a struct.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	into := reflect.ValueOf(v).Elem()
	parameters := parametersOf(into.Type())
	if r.Method == http.MethodPost {
		if err := decodeBody(w, r, v); err != nil {
			return err
		}
	} else if err := decodeQuery(r, into, parameters); err != nil {
		return err
	}
	for _, p := range parameters {
		field := into.FieldByIndex(p.index)
		if p.inPath {
			if err := set(field, p.name, r.PathValue(p.name)); err != nil {
				return err
			}
		}
		if err := checkBounds(field, p); err != nil {
			return err
		}
	}
	return nil
}

// decodeBody reads a JSON body. An empty one has no parameters.
func decodeBody(w http.ResponseWriter, r *http.Request, v any) error {
	for name := range r.URL.Query() {
		return invalid("%q is in the query: parameters of a POST are in its JSON body", name)
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &requestError{http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody)}
	case err != nil:
		return invalid("read the body: %v", err)
	case len(bytes.TrimSpace(data)) == 0:
		return nil
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &requestError{http.StatusUnsupportedMediaType, codeMediaType, "the body must be JSON, with Content-Type: application/json"}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return invalid("read the body: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("the body has more than one JSON value")
	}
	return nil
}

func decodeQuery(r *http.Request, into reflect.Value, parameters []parameter) error {
	query := r.URL.Query()
	for name, values := range query {
		i := slices.IndexFunc(parameters, func(p parameter) bool { return p.name == name && !p.inPath })
		switch {
		case i < 0:
			return invalid("there is no parameter %q; there are: %s", name, names(parameters))
		case len(values) > 1:
			return invalid("the parameter %q is there %d times", name, len(values))
		}
		if err := set(into.FieldByIndex(parameters[i].index), name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// names lists the parameters in a query.
func names(parameters []parameter) string {
	var all []string
	for _, p := range parameters {
		if !p.inPath {
			all = append(all, p.name)
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// set sets a field to a text of a path or a query.
func set(field reflect.Value, name, text string) error {
	switch v := field.Addr().Interface().(type) {
	case *string:
		*v = text
		return nil
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return invalid("%s is %q: it must be true or false", name, text)
		}
		*v = b
		return nil
	case *int, *int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || field.OverflowInt(n) {
			return invalid("%s is %q: it must be an integer", name, text)
		}
		field.SetInt(n)
		return nil
	case *time.Time:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return invalid("%s is %q: it must be a time, such as 2026-11-28T23:00:00Z", name, text)
		}
		*v = t
		return nil
	}
	panic(fmt.Sprintf("a parameter of type %s", field.Type())) // of the table of routes
}

// checkBounds checks an integer against the tag max, and that it is not negative. 0 is
// the default.
func checkBounds(field reflect.Value, p parameter) error {
	if !field.CanInt() {
		return nil
	}
	n := field.Int()
	if n < 0 {
		return invalid("%s is %d: it must not be negative", p.name, n)
	}
	most, err := strconv.ParseInt(p.field.Tag.Get("max"), 10, 64)
	if err == nil && n > most {
		return invalid("%s is %d: it must be at most %d", p.name, n, most)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, operation.InvalidParameter, fmt.Sprintf(format, args...)}
}
