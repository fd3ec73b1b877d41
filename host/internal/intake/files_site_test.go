package intake

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
)

// filesSite is a data directory with two sources of files, which is opened again for
// each run: files in in/ hold events, those in people/ records about profiles.
type filesSite struct {
	*testing.T
	dir  string
	text string // of the configuration
}

// newFilesSite makes a site. more is added to both sources.
func newFilesSite(t *testing.T, more string) *filesSite {
	t.Helper()
	s := &filesSite{t, t.TempDir(), fmt.Sprintf(`
project "shop" {
  id = 1
}
source "files" "in" {
  project = "shop"
  path    = "./in/*"
  %[1]s
}
source "files" "people" {
  project = "shop"
  path    = "./people/*"
  records = "people"
  %[1]s
}
`, more)}
	for _, dir := range []string{"in", "people"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *filesSite) path(name string) string { return filepath.Join(s.dir, name) }

func (s *filesSite) write(name, data string) {
	s.Helper()
	if err := os.WriteFile(s.path(name), []byte(data), 0o600); err != nil {
		s.Fatal(err)
	}
}

// open opens the data directory for the time of fn.
func (s *filesSite) open(fn func(o *site)) {
	s.Helper()
	o := openConfig(s, s.path("data"), load(s, s.dir, s.text))
	fn(o)
	o.close(s)
}

// once reads both sources to their end, and returns the summaries.
func (s *filesSite) once() (events, people operation.SourceSummary, err error) {
	s.Helper()
	s.open(func(o *site) {
		var summary operation.Summary
		err = o.set.ReadAll(s.Context(), 0, &summary)
		events, people = summary.Sources[0], summary.Sources[1]
	})
	return events, people, err
}

// events returns the rows of events that the journal holds, sorted.
func (s *filesSite) events() []string {
	s.Helper()
	var rows []string
	s.open(func(o *site) {
		err := o.stores.Catalog.Extents(s.Context(), 1, journal.KindEvents, 0, 1<<40, func(_ int64, extents []pipeline.Extent) error {
			var err error
			for _, e := range extents {
				err = errors.Join(err, o.project.Journal.Reader().Extent(s.Context(), e.Ref, func(b journal.Block) error {
					if b.Flags != 0 {
						s.Errorf("a block has the flags %b", b.Flags)
					}
					data, err := segment.Decode(nil, b)
					for line := range strings.Lines(string(data)) {
						rows = append(rows, line)
					}
					return err
				}))
			}
			return err
		})
		if err != nil {
			s.Fatal(err)
		}
	})
	slices.Sort(rows)
	return rows
}

// profiles folds the operations, and returns the profiles.
func (s *filesSite) profiles() string {
	s.Helper()
	text := ""
	s.open(func(o *site) {
		people := o.project.People
		g, err := people.Latest(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		text = projecttest.Text(s, people.Generations, g.Blob)
	})
	return text
}

// status returns the status of both sources.
func (s *filesSite) status() (events, people operation.SourceStatus) {
	s.Helper()
	s.open(func(o *site) {
		var status operation.Status
		if err := o.set.Describe(s.Context(), &status); err != nil {
			s.Fatal(err)
		}
		events, people = status.Sources[0], status.Sources[1]
	})
	return events, people
}

// Strings that a client has cut in half of a character are repaired, and counted
// in the summary and in status.
func TestHalfCharactersOfFilesAreRepaired(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	const event = `{"event":"e\ud83d","properties":{"time":1780000000,"distinct_id":"u\udc00","$insert_id":"%s","\ud83d":"\ud83d\ude00"}}` + "\n"
	s.write("in/a.ndjson", fmt.Sprintf(event, "1")+strings.ReplaceAll(fmt.Sprintf(event, "1"), `\udc00`, `\ufffd`)+fmt.Sprintf(event, `2\ud800`)+"\n")
	s.write("people/a.ndjson", `{"$distinct_id":"u\ud83d","$set":{"a\ud83d":"\ud83d"}}`+"\n"+`{"$distinct_id":"b","$set":{"a":"x"}}`+"\n")
	events, people, err := s.once()
	if err != nil || events.Rows != 2 || events.Duplicates != 1 || events.Repaired != 3 || people.Repaired != 1 {
		t.Errorf("events %+v, people %+v, %v", events, people, err)
	}
	rows := strings.Join(s.events(), "") + s.profiles()
	if strings.Contains(strings.ReplaceAll(rows, `\ud83d\ude00`, ""), `\ud8`) || strings.Contains(rows, `\udc00`) || strings.Count(rows, `\ud83d\ude00`) != 2 {
		t.Errorf("the rows are\n%s", rows)
	}
	// The second run repairs nothing, and forgets nothing.
	if events, people, err = s.once(); err != nil || events.Repaired+people.Repaired != 0 {
		t.Errorf("again: events %+v, people %+v, %v", events, people, err)
	}
	if events, people := s.status(); events.Repaired != 3 || people.Repaired != 1 {
		t.Errorf("status: events %+v, people %+v", events, people)
	}
}
