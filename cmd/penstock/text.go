package main

import (
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

// many is a number of things in words: "1 file", "2,000 files", "3 queries".
func many(n int64, thing string) string {
	return thousands(n) + " " + noun(n, thing)
}

// noun is the name of a thing for a number of them: "file" for 1, "files" for others.
func noun(n int64, thing string) string {
	switch {
	case n == 1:
		return thing
	case strings.HasSuffix(thing, "ry"):
		return strings.TrimSuffix(thing, "y") + "ies"
	}
	return thing + "s"
}

// verb returns the form of a verb for a number of things: singular for 1.
func verb(n int64, singular, plural string) string {
	if n == 1 {
		return singular
	}
	return plural
}
