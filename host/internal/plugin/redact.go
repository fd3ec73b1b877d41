package plugin

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
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
	forms := []string{v, url.QueryEscape(v), url.PathEscape(v)}
	if quoted, err := json.Marshal(v); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	for _, f := range forms {
		if len(f) >= minSecret && !slices.Contains(r.secrets, f) {
			r.secrets = append(r.secrets, f)
		}
	}
}

func (r *redactor) clean(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	return s
}

// cleanCut cleans a piece of text that was cut off behind its end. The start
// of a secret may stand there, so as much as the longest secret is dropped.
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
