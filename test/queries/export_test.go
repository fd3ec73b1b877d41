//go:build cgo

package queries

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const configuration = `
host {
  data_dir   = "./data"
  plugin_dir = %q
}
project "shop" {
  id    = %s
  token = "shop-token"
}
source "files" "events" {
  project = "shop"
  path    = "./events.ndjson"
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = %q
}
`

// export has a host export the sample, and returns the destination's
// directory.
func export(t *testing.T, s *sample) string {
	t.Helper()
	dir := t.TempDir()
	binary, plugins := build(t)
	write(t, filepath.Join(dir, "penstock.hcl"), fmt.Sprintf(configuration, plugins, projectID, first.Format(time.DateOnly)))
	var events strings.Builder
	for _, e := range s.events {
		events.WriteString(e.record() + "\n")
	}
	write(t, filepath.Join(dir, "events.ndjson"), events.String())
	run(t, dir, binary, "run", "--once", "--config", "penstock.hcl")
	lay(t, filepath.Join(dir, "out"), s)
	return filepath.Join(dir, "out")
}

// lay lays profiles and mappings beside the events, in the form that they are
// exported in.
func lay(t *testing.T, out string, s *sample) {
	t.Helper()
	var people, mappings strings.Builder
	for _, p := range s.profiles {
		fmt.Fprintf(&people, `{"distinct_id":%q,"properties":{"$email":%q,"$last_seen":%q}}`+"\n", p.id, p.email, p.seen.Format("2006-01-02T15:04:05"))
	}
	for device, user := range s.owners() {
		fmt.Fprintf(&mappings, `{"distinct_id":%q,"resolved_distinct_id":%q}`+"\n", device, user)
	}
	for name, text := range map[string]string{"mp_people_data": people.String(), "mp_identity_mappings_data": mappings.String()} {
		dir := filepath.Join(out, projectID, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text)) // a buffer takes everything
		_ = z.Close()
		write(t, filepath.Join(dir, "laid.json.gz"), b.String())
	}
}

// record is the event in the shape of Mixpanel's export.
func (e event) record() string {
	properties := map[string]any{"time": e.at.Unix(), "$insert_id": e.insert}
	for name, value := range map[string]string{"$device_id": e.device, "$user_id": e.user, "distinct_id": e.id()} {
		if value != "" || e.blank && name == "distinct_id" {
			properties[name] = value
		}
	}
	b, err := json.Marshal(map[string]any{"event": e.name, "properties": properties})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// build builds the host and its plugin, and returns where they are.
func build(t *testing.T) (binary, plugins string) {
	t.Helper()
	dir := t.TempDir()
	binary, plugins = filepath.Join(dir, "penstock"), filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "../..", "go", "build", "-o", binary, "./cmd/penstock")
	run(t, "../..", "go", "build", "-o", filepath.Join(plugins, "penstock-destination-localfs"), "./cmd/penstock-destination-localfs")
	run(t, "../..", binary, "plugins", "trust", "--plugin-dir", plugins)
	return binary, plugins
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
