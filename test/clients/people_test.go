package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// export adds a pipeline for a stream of a project.
func (s *shop) export(project, stream string) {
	s.t.Helper()
	s.Append("penstock.hcl", fmt.Sprintf(`
pipeline "%[1]s_%[2]s" {
  project     = %[1]q
  stream      = %[2]q
  destination = "localfs.out"
}
`, project, stream))
}

// seen stands for a $last_seen of this test.
const seen = "seen"

// people describes the profiles that were exported, sorted.
func (s *shop) people(project string) []string {
	t := s.t
	t.Helper()
	var all []string
	for _, line := range s.lines("out/" + project + "/mp_people_data") {
		var row struct {
			ID         string         `json:"distinct_id"`
			Properties map[string]any `json:"properties"`
		}
		decode(s, line, &row)
		if at, ok := row.Properties["$last_seen"].(string); ok {
			// Clients may say when it was.
			last, err := time.Parse("2006-01-02T15:04:05", at)
			if err != nil || last.Before(s.began.Add(-5*time.Minute)) || last.After(time.Now()) {
				t.Errorf("%s was last seen at %s", row.ID, at)
			}
			row.Properties["$last_seen"] = seen
		}
		all = append(all, profile(s, row.ID, row.Properties))
	}
	slices.Sort(all)
	return all
}

// mappings describes the identity mappings that were exported, sorted.
func (s *shop) mappings(project string) []string {
	s.t.Helper()
	var all []string
	for _, line := range s.lines("out/" + project + "/mp_identity_mappings_data") {
		var row struct {
			ID       string `json:"distinct_id"`
			Resolved string `json:"resolved_distinct_id"`
		}
		decode(s, line, &row)
		all = append(all, row.ID+" is "+row.Resolved)
	}
	slices.Sort(all)
	return all
}

// lines are those of all objects below a directory.
func (s *shop) lines(dir string) []string {
	var all []string
	for object := range s.Objects(dir) {
		all = append(all, penstocktest.ReadObject(s.t, filepath.Join(s.Dir, dir, object))...)
	}
	return all
}

func decode(s *shop, text string, v any) {
	s.t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		s.t.Fatalf("%v in %s", err, text)
	}
}

func profile(s *shop, id string, properties map[string]any) string {
	s.t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(properties); err != nil {
		s.t.Fatal(err)
	}
	return id + " " + strings.TrimSpace(b.String())
}

// profiles describe the expected profiles, by id, as JSON.
func (s *shop) profiles(want map[string]string) []string {
	var all []string
	for id, text := range want {
		var properties map[string]any
		decode(s, text, &properties)
		all = append(all, profile(s, id, properties))
	}
	slices.Sort(all)
	return all
}
