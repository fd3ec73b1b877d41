package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

func TestEveryMistakeIsSaidAtOnce(t *testing.T) {
	s := newSite(t)
	s.Write("penstock.hcl", `
host {
  data_dir   = "./data"
  plugin_dir = "`+filepath.Join(penstocktest.Binaries, "plugins")+`"
}
project "shop" {
  id       = 2195193
  timezone = "Europe/Berlim"
}
source "files" "import" {
  project = "shop"
  pth     = "./events/*"
}
destination "localfs" "out" {
  path   = "./out"
  prefx  = "x"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = "localfs.uot"
  from_date   = "2019-01-01"
}
`)
	r := s.Penstock(nil, "validate")
	if r.Status != 2 {
		t.Errorf("status %d, want 2", r.Status)
	}
	for _, want := range []string{"penstock.hcl:8:", "Europe/Berlin", "penstock.hcl:12:", "path", "penstock.hcl:16:", "prefix", "penstock.hcl:21:", "localfs.out", "penstock.hcl:22:"} {
		if !strings.Contains(r.Err, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if t.Failed() {
		t.Log(r.Out, r.Err)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	s := newSiteWith(t, `
destination "s3" "lake" {
  bucket            = "acme"
  region            = "us-west-2"
  endpoint          = "http://127.0.0.1:1"
  path_style        = true
  access_key_id     = env("KEY_ID")
  secret_access_key = env("SECRET")
}
`, "s3.lake")
	s.events("a.ndjson", 0, 1, 10)
	env := []string{"KEY_ID=AKIA-hidden-id", "SECRET=hidden-secret-value"}
	for _, args := range [][]string{{"validate"}, {"run", "--once", "--retry-for", "1s"}, {"status"}, {"destinations", "check"}, {"runs", "list"}, {"plan", "--json"}} {
		r := s.Penstock(env, args...)
		for _, secret := range []string{"hidden-secret-value", "tok-7c1d"} {
			if strings.Contains(r.Out+r.Err, secret) {
				t.Errorf("%v prints a secret:\n%s%s", args, r.Out, r.Err)
			}
		}
	}
	r := s.Penstock(env, "run", "--once", "--retry-for", "1s")
	if r.Status != 1 || !strings.Contains(r.Err, "127.0.0.1:1") {
		t.Errorf("a server that is down: status %d\n%s%s", r.Status, r.Out, r.Err)
	}
}

// A command needs only the secrets that it uses, and writes only in the
// directories of its configuration.
func TestCommandsNeedNoSecrets(t *testing.T) {
	s := newSiteWith(t, `
destination "s3" "lake" {
  bucket            = "acme"
  region            = "us-west-2"
  endpoint          = "http://127.0.0.1:1"
  path_style        = true
  access_key_id     = env("TEST_KEY_ID")
  secret_access_key = env("TEST_SECRET")
}
`, "s3.lake")
	s.events("a.ndjson", 0, 1, 10)
	s.Penstock([]string{"TEST_KEY_ID=id", "TEST_SECRET=secret"}, "run", "--once", "--retry-for", "1s")
	for _, args := range [][]string{
		{"plan"}, {"status"}, {"runs", "list"}, {"pipelines", "list"}, {"pipelines", "pause", "events_out"},
		{"journal", "inspect"}, {"journal", "verify"}, {"quarantine", "list"}, {"quarantine", "replay"}, {"journal", "rebuild-catalog", "--force"},
	} {
		r := s.Penstock(nil, args...)
		s.Says(r, 0, `env("TEST_KEY_ID"), env("TEST_SECRET"): `)
		if strings.Count(r.Err, "warning") != 1 {
			t.Errorf("%v warns more than once:\n%s", args, r.Err)
		}
	}
	s.Says(s.Penstock(nil, "destinations", "check"), 2, "TEST_KEY_ID is not set", "TEST_SECRET is not set")

	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"./data"`, `env("TEST_DATA")`, 1))
	for _, args := range [][]string{{"status"}, {"journal", "rebuild-catalog"}} {
		s.Says(s.Penstock(nil, args...), 2, `TEST_DATA is not set. This command needs "data_dir"`)
	}
	s.Says(s.Penstock([]string{"TEST_DATA=./data"}, "status"), 0, filepath.Join(s.Dir, "data"))
}

// Before and after the first run, plan and status say what waits and where, and
// no state claims work that no host does.
func TestPlanAndStatusBeforeAndAfterTheFirstRun(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	s.Says(s.Penstock(nil, "plan"), 0, "events_out: nothing to export in the journal", "not in the journal yet: files.import: 1 file")
	s.Says(s.Penstock(nil, "status"), 0, "no host is running", "1 file", "no pipeline is registered yet")
	s.Says(s.Once(), 0, "10 records read, 10 rows new")
	r := s.Penstock(nil, "plan")
	s.Says(r, 0, "nothing to export")
	if strings.Contains(r.Out, "not in the journal yet") {
		t.Errorf("everything was read:\n%s", r.Out)
	}
	s.Says(s.Penstock(nil, "status"), 0, "NEXT RUN (UTC)", "run 1 succeeded")
	s.Says(s.Once(), 0, "nothing new in 1 file", "events_out → localfs.out: nothing new to export")

	text := s.Read("penstock.hcl")
	begin := strings.Index(text, "pipeline \"events_out\"")
	s.Write("penstock.hcl", text[:begin]+strings.Replace(text[begin:], "events_out", "other", 1))
	s.Append("penstock.hcl", "")
	s.Says(s.Penstock(nil, "pipelines", "list"), 0, "removed")
}

// Each error is printed once, a run that was planned by a process that has ended is
// called that, and resume says when the configuration keeps a pipeline paused.
func TestAFailedRunAsText(t *testing.T) {
	s := newSiteWith(t, `
destination "s3" "lake" {
  bucket            = "acme"
  region            = "us-west-2"
  endpoint          = "http://127.0.0.1:1"
  path_style        = true
  access_key_id     = "id"
  secret_access_key = env("SHOP_TOKEN")
}
`, "s3.lake")
	s.events("a.ndjson", 0, 1, 10)
	if err := syscall.Mkfifo(filepath.Join(s.Dir, "events", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.Penstock(nil, "run", "--once", "--retry-for", "1s")
	s.Says(r, 1, "10 rows new, 0 repeated, then failed\n", "penstock: source files.import: a path was not read\n", "penstock: run 1 of pipeline events_out: ")
	for text, want := range map[string]int{"named pipe": 1, "connection refused": 1, "RequestID": 0, "a path was not read": 1} {
		if n := strings.Count(r.Out+r.Err, text); n != want {
			t.Errorf("%q is said %d times, want %d", text, n, want)
		}
	}
	s.Says(s.Penstock(nil, "plan"), 0, "events_out, run 1 (live, planned before): 10 rows")
	s.Says(s.Penstock(nil, "pipelines", "pause", "events_out"), 0, "pipeline events_out is paused")
	s.Says(s.Penstock(nil, "pipelines", "pause", "events_out"), 0, "was paused already")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "  stream      = ", "  paused      = true\n  stream      = ", 1))
	s.Says(s.Penstock(nil, "pipelines", "resume", "events_out"), 0, "pipeline events_out stays paused: the configuration has paused = true (", "penstock.hcl:27)")
	s.Says(s.Penstock(nil, "pipelines", "resume", "events_out", "--json"), 0, `"paused": true`, `"changed": false`)
	r = s.Penstock(nil, "destinations", "check")
	s.Says(r, 1, "s3.lake, shop, write, FAILED: ", "connection refused")
	if t.Failed() {
		t.Log(r.Out, r.Err)
	}
}

func TestCommandsWithARunningHost(t *testing.T) {
	s := newSite(t)
	fill(s)
	command := exec.Command(filepath.Join(penstocktest.Binaries, "penstock"), "run", "--config", "penstock.hcl")
	command.Dir = s.Dir
	command.Env = append(os.Environ(), "SHOP_TOKEN=tok-7c1d")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	defer func() { _ = command.Process.Kill() }()

	deadline := time.Now().Add(5 * time.Minute)
	for {
		var status struct {
			Running  bool `json:"running"`
			Projects []struct {
				Rows int64 `json:"rows"`
			} `json:"projects"`
		}
		r := s.Penstock(nil, "status", "--json")
		if r.Status == 0 && json.Unmarshal([]byte(r.Out), &status) == nil && status.Running && len(status.Projects) == 1 && status.Projects[0].Rows > 37000 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the running host has not read its source: %s%s", r.Out, r.Err)
		}
	}
	// The first run may have begun before all was read, and the next one is due tomorrow.
	s.Says(s.Penstock(nil, "pipelines", "run", "events_out"), 0)
	if rows := len(s.Rows("out")); rows < 37000 {
		t.Errorf("%d rows are exported", rows)
	}
	for _, args := range [][]string{
		{"plan"}, {"journal", "verify"}, {"quarantine", "list"}, {"runs", "list"}, {"destinations", "check"}, {"pipelines", "pause", "events_out"},
	} {
		// The host has the secrets; the command does not need them.
		if r := s.Penstock([]string{"SHOP_TOKEN"}, args...); r.Status != 0 {
			t.Errorf("%v: status %d\n%s%s", args, r.Status, r.Out, r.Err)
		}
	}
	if r := s.Penstock(nil, "run", "--once"); r.Status != 1 || !strings.Contains(r.Err, "in use") {
		t.Errorf("a second host: status %d\n%s", r.Status, r.Err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the host ended with %v", err)
	}
}

// Only the host's user can read its files, while the host runs and after.
func TestFilesArePrivate(t *testing.T) {
	s := newSite(t)
	s.Write("events/a.ndjson", event(0, 1, "")+"\nno json at all\n")
	host := s.Serve()
	host.Until("the row is exported", func() bool { return host.Reported("export events_out run 1") == 1 })
	seen := 0
	check := func() {
		err := filepath.WalkDir(filepath.Join(s.Dir, "data"), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil // it comes and goes
				}
				return err
			}
			info, err := d.Info()
			if err != nil || info.Mode()&os.ModeSocket != 0 && d.Name() != "penstock.sock" {
				return nil // gone, or a plugin's, in a directory of its own
			}
			seen++
			want := os.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %s, want %s", path, info.Mode().Perm(), want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	check()
	// Only root sees it at all.
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", host.PID()))
	if err == nil && strings.Contains(string(environ), "tok-7c1d") || err != nil && os.Geteuid() == 0 {
		t.Errorf("the environment of the host is shown: %q, %v", environ, err)
	}
	host.Stop(syscall.SIGTERM)
	check()
	if seen < 20 {
		t.Errorf("only %d files were seen", seen)
	}
}
