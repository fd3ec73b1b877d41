package destinationtest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
)

// recording is the content of Harness.Record.
type recording struct {
	Plugin  string   `json:"plugin"`
	Service Service  `json:"service"`
	Laws    []result `json:"laws"`

	failed bool
}

// result is the result of one check.
type result struct {
	Law string `json:"law"`
	// Rule is the sentence that the check holds the destination to.
	Rule string `json:"rule"`
	Held bool   `json:"held"`
	// Skipped is the reason for a check that was not made.
	Skipped string `json:"skipped,omitempty"`
}

func (r *recording) add(c check, skipped string) {
	r.Laws = append(r.Laws, result{Law: c.name, Rule: c.rule, Held: skipped == "", Skipped: skipped})
}

// compare compares the results with the file, or writes them. A run in which a
// check has failed, or that left some out with -run, says nothing.
func (r *recording) compare(t T, path string) {
	t.Helper()
	if r.failed || len(r.Laws) < len(checks) {
		return
	}
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatalf("encode the results: %v", err)
	}
	got = append(got, '\n')
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatalf("%v", err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatalf("%v", err)
		}
		return
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not the result of this run (%v): run the test with -update", path, err)
	}
}
