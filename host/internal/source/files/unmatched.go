package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Unmatched explains that a pattern names no file, with a hint where a mistake
// shows; "" if it names one. Patterns of buckets, which would have to be listed, are
// not looked at.
func Unmatched(ctx context.Context, pattern string) (string, error) {
	if strings.Contains(pattern, "://") {
		return "", nil
	}
	found, err := directory{pattern: pattern}.list(ctx)
	if err != nil || len(found.entries) > 0 {
		return "", err
	}
	hint := unmatchedHint(pattern, found)
	return fmt.Sprintf("%s matches no file (yet)%s", unescaped(pattern), hint), nil
}

// unmatchedHint returns the continuation of a sentence, or "".
func unmatchedHint(pattern string, found listing) string {
	shown, base := unescaped(pattern), patternBase(pattern)
	switch info, err := os.Stat(base); {
	case err == nil && info.IsDir() && base == filepath.Clean(shown):
		return fmt.Sprintf(": it is a directory. Did you mean %q?", filepath.Join(shown, "*.ndjson"))
	case err != nil:
		return ": there is no " + missingPart(base)
	case len(found.skipped) > 0:
		return fmt.Sprintf(": %d paths match and are not read", len(found.skipped))
	case found.directories > 0 && !strings.Contains(pattern, "**"):
		return fmt.Sprintf(": it matches directories. Did you mean %q?", filepath.Join(shown, "*"))
	}
	return ""
}

// patternBase returns the part of a pattern before its first wildcard: a
// directory, or the whole path.
func patternBase(pattern string) string {
	base, rest := doublestar.SplitPattern(filepath.ToSlash(filepath.Clean(pattern)))
	base = unescaped(base)
	if rest = unescaped(rest); !strings.ContainsAny(rest, "*?[{") {
		base = filepath.Join(base, rest)
	}
	return base
}

// missingPart returns the first part of a path that does not exist.
func missingPart(path string) string {
	for parent := filepath.Dir(path); parent != path; parent = filepath.Dir(path) {
		if _, err := os.Stat(parent); err == nil {
			break
		}
		path = parent
	}
	return path
}
