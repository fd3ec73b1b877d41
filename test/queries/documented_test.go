//go:build cgo

package queries

import (
	"os"
	"strings"
	"testing"
)

// query is a block of the page.
type query struct {
	name string // in its first line, a comment
	text string
}

// documented returns the blocks of the page of queries in a dialect, in order, with the
// placeholders of bucket and project filled in.
func documented(t *testing.T, dialect, bucket, project string) []query {
	t.Helper()
	return documentedIn(t, "queries.md", dialect, bucket, project)
}

// documentedIn is documented for any page below docs.
func documentedIn(t *testing.T, name, dialect, bucket, project string) []query {
	t.Helper()
	page, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{bucket}", bucket, "<project>", project)
	var found []query
	for _, rest := range strings.Split(string(page), "\n```sql "+dialect+"\n")[1:] {
		text, _, closed := strings.Cut(rest, "\n```")
		first, _, _ := strings.Cut(text, "\n")
		name, named := strings.CutPrefix(first, "-- ")
		if !closed || !named {
			t.Fatalf("a block without end or name: %s", rest)
		}
		found = append(found, query{name, fill.Replace(text)})
	}
	return found
}
