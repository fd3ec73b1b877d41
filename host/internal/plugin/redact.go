package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/sdk/protocol"
)

const (
	redacted = "[redacted]"
	// Shorter values are not looked for: they would be found in every word.
	minSecret = 4
)

// redactor replaces secrets in text. Its zero value replaces nothing; it may
// be used concurrently.
type redactor struct {
	mu      sync.RWMutex
	secrets []string // longest first
}

// add makes values known as secrets, in the forms they take in URLs and JSON
// too. Of a value of several lines each line is one.
func (r *redactor) add(values ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		for _, line := range append(strings.Split(v, "\n"), v) {
			r.addForms(strings.TrimSpace(line))
		}
	}
	slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
}

func (r *redactor) addForms(v string) {
	for _, f := range []string{v, url.QueryEscape(v), url.PathEscape(v), inJSON(v, true), inJSON(v, false)} {
		if len(f) >= minSecret && !slices.Contains(r.secrets, f) {
			r.secrets = append(r.secrets, f)
		}
	}
}

// inJSON is the text between the quotes.
func inJSON(v string, escapeHTML bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	text := strings.TrimSuffix(b.String(), "\n")
	return text[1 : len(text)-1]
}

func (r *redactor) clean(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	return s
}

// cleanReceipt cleans the names of objects, which are for people.
func (r *redactor) cleanReceipt(receipt *protocol.Receipt) {
	for i := range receipt.Partitions {
		objects := receipt.Partitions[i].Objects
		for j := range objects {
			objects[j] = r.clean(objects[j])
		}
	}
}

// cleanCut cleans a line whose end was cut off. The cut may lie inside a secret, so
// as many bytes as the longest secret has are dropped from the end.
func (r *redactor) cleanCut(b []byte) []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, secret := range r.secrets {
		b = bytes.ReplaceAll(b, []byte(secret), []byte(redacted))
	}
	if len(r.secrets) > 0 {
		b = b[:max(0, len(b)-len(r.secrets[0])+1)]
	}
	return b
}

// cleanError takes the secrets out of an error's text. An error without secrets is
// returned unchanged. Another keeps its class, and errors.Is still finds ErrLost
// and ErrUnknown in it.
func (r *redactor) cleanError(err error) error {
	text := err.Error()
	var e *protocol.Error
	if !errors.As(err, &e) {
		if clean := r.clean(text); clean != text {
			return &protocol.Error{Class: protocol.ClassOf(err), Err: &cleanedError{clean, err}}
		}
		return err
	}
	cleanText, cleanHint := r.clean(text), r.clean(e.Hint)
	if cleanText == text && cleanHint == e.Hint {
		return err
	}
	return &protocol.Error{Class: e.Class, RetryAfter: e.RetryAfter, Hint: cleanHint, Err: &cleanedError{cleanText, err}}
}

// cleanedError has an error's text without secrets. errors.Is sees the original
// error, errors.As and Unwrap do not.
type cleanedError struct {
	text string
	err  error
}

func (e *cleanedError) Error() string        { return e.text }
func (e *cleanedError) Is(target error) bool { return errors.Is(e.err, target) }
