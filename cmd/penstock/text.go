package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// utc is a time as the tables show it; their headings say that it is UTC.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// requestIDs matches the ids in the texts of AWS's errors, by which its support
// finds a request.
var requestIDs = regexp.MustCompile(`\b(RequestID|HostID): ?([^,;)\s]*),? ?`)

// oneLine is an error on one line: ids of requests stand at its end, each once.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	var ids []string
	for _, m := range requestIDs.FindAllStringSubmatch(text, -1) {
		id := m[1] + " " + m[2]
		if m[2] != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	text = strings.TrimSpace(requestIDs.ReplaceAllString(text, ""))
	if len(ids) > 0 {
		text += " [" + strings.Join(ids, ", ") + "]"
	}
	return escape(text)
}

// many is a number of things in words: "1 file", "2,000 files".
func many(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%s %ss", thousands(n), thing)
}
