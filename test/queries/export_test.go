//go:build cgo

package queries

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

const token = "shop-token"

const configuration = `
host {
  data_dir   = "./data"
  plugin_dir = %q
}
project "shop" {
  id    = %s
  token = %q
}
source "collector" "web" {
  project = "shop"
  listen  = "127.0.0.1:0"
}
`

const pipelines = `
destination "localfs" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = %q
}
pipeline "people_out" {
  project     = "shop"
  stream      = "people"
  destination = destination.localfs.out
}
pipeline "identity_out" {
  project     = "shop"
  stream      = "identity"
  destination = destination.localfs.out
}
`

// export has a host collect the sample, as clients send it, and export it. It
// returns the destination's directory.
func export(t *testing.T, s *sample) string {
	t.Helper()
	dir := t.TempDir()
	binary, plugins := filepath.Join(penstocktest.Binaries, "penstock"), filepath.Join(penstocktest.Binaries, "plugins")
	config := fmt.Sprintf(configuration, plugins, projectID, token)
	write(t, filepath.Join(dir, "penstock.hcl"), config)
	collect(t, dir, binary, s)
	write(t, filepath.Join(dir, "penstock.hcl"), config+fmt.Sprintf(pipelines, first.Format(time.DateOnly)))
	run(t, dir, binary, "run", "--once", "--config", "penstock.hcl")
	return filepath.Join(dir, "out")
}

// collect sends the sample to a host that serves.
func collect(t *testing.T, dir, binary string, s *sample) {
	t.Helper()
	command := exec.Command(binary, "run", "--config", "penstock.hcl")
	command.Dir = dir
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			_ = command.Process.Kill()
			_ = command.Wait()
			t.Logf("the host said:\n%s", said.String())
		}
	}()
	address := "http://" + listening(t, dir, binary)
	for batch := range slices.Chunk(s.events, 500) {
		post(t, address+"/import?strict=0", batch, event.record)
	}
	// The latest does not come last.
	slices.Reverse(s.profiles)
	post(t, address+"/engage", s.profiles, profile.record)
	slices.Reverse(s.profiles)
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Fatal(err)
	}
}

// listening waits until a host listens, and says where.
func listening(t *testing.T, dir, binary string) string {
	t.Helper()
	deadline, tick := time.NewTimer(time.Minute), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		command := exec.CommandContext(t.Context(), binary, "status", "--json", "--config", "penstock.hcl")
		command.Dir = dir
		out, err := command.Output()
		var status struct {
			Collectors []struct {
				Listening bool
				Listen    string
			}
		}
		if err == nil && json.Unmarshal(out, &status) == nil && len(status.Collectors) == 1 && status.Collectors[0].Listening {
			return status.Collectors[0].Listen
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("the host does not listen: %v: %s", err, out)
		}
	}
}

// post sends records, which are all taken.
func post[T any](t *testing.T, target string, records []T, record func(T) map[string]any) {
	t.Helper()
	var list []map[string]any
	for _, r := range records {
		list = append(list, record(r))
	}
	body, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(token, "")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || string(answer) != "1" {
		t.Fatalf("%s: %d %s %v", target, response.StatusCode, answer, err)
	}
}

// record is the event as a client sends it.
func (e event) record() map[string]any {
	properties := map[string]any{"token": token, "time": e.at.Unix(), "$insert_id": e.insert}
	if e.device != "" {
		properties["$device_id"] = e.device
	}
	if e.user != "" {
		properties["$user_id"] = e.user
	}
	if e.blank {
		properties["distinct_id"] = ""
	}
	return map[string]any{"event": e.name, "properties": properties}
}

// record is an operation that makes the profile.
func (p profile) record() map[string]any {
	return map[string]any{"$token": token, "$distinct_id": p.id, "$time": p.seen.Unix(), "$set": map[string]string{"$email": p.email}}
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
