package files

import (
	"strings"
	"testing"
)

// A pattern that names no file is explained where a mistake shows.
func TestUnmatched(t *testing.T) {
	dir := t.TempDir() + "/[prod]"
	write(t, dir, "in/2026/a.ndjson", "{}")
	write(t, dir, "in/2026/.hidden.ndjson", "{}")
	escaped := strings.ReplaceAll(strings.ReplaceAll(dir, "[", `\[`), "]", `\]`)
	for pattern, want := range map[string]string{
		"/in/2026/*.ndjson":       "",
		"/in/**/*":                "",
		"/in/2026/.hidden.ndjson": "",
		"/in/2026/*.json":         "DIR/in/2026/*.json matches no file (yet)",
		"/in/2026":                `DIR/in/2026 matches no file (yet): it is a directory. Did you mean "DIR/in/2026/*.ndjson"?`,
		"/in/2026/":               `DIR/in/2026/ matches no file (yet): it is a directory. Did you mean "DIR/in/2026/*.ndjson"?`,
		"/in/*":                   `DIR/in/* matches no file (yet): it matches directories. Did you mean "DIR/in/*/*"?`,
		"/inn/2026/*.ndjson":      "DIR/inn/2026/*.ndjson matches no file (yet): there is no DIR/inn",
		"/in/2026/b.ndjson":       "DIR/in/2026/b.ndjson matches no file (yet): there is no DIR/in/2026/b.ndjson",
	} {
		got, err := Unmatched(t.Context(), escaped+pattern)
		if want = strings.ReplaceAll(want, "DIR", dir); got != want || err != nil {
			t.Errorf("%s: got  %s, %v\nwant %s", pattern, got, err, want)
		}
	}
	if got, err := Unmatched(t.Context(), "s3://bucket/*"); got != "" || err != nil {
		t.Errorf("a bucket: %s, %v", got, err)
	}
}
