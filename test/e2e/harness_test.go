package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binaries are built once per test binary, with the crash points compiled in.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if binaries = os.Getenv(insideEnv); binaries != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "penstock-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binaries = dir
	return m.Run()
}

// build puts host and plugins into dir and pins the plugins.
func build(dir string) error {
	plugins := filepath.Join(dir, "plugins")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return err
	}
	for output, pkg := range map[string]string{
		"penstock":                             "./cmd/penstock",
		"plugins/penstock-destination-localfs": "./cmd/penstock-destination-localfs",
		"plugins/penstock-destination-s3":      "./cmd/penstock-destination-s3",
		"plugins/penstock-destination-picky":   "./test/e2e/picky",
	} {
		command := exec.Command("go", "build", "-tags", "crashpoints", "-o", filepath.Join(dir, output), pkg)
		command.Dir = "../.."
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	command := exec.Command(filepath.Join(dir, "penstock"), "plugins", "trust", "--plugin-dir", plugins)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("trust plugins: %w\n%s", err, out)
	}
	return nil
}

// site is one installation: a directory with configuration, events, data and
// output.
type site struct {
	t   *testing.T
	dir string
}

// base is the first day that the tests' events are of; recent enough for
// every limit on dates.
var base = time.Now().UTC().AddDate(0, 0, -60).Truncate(24 * time.Hour)

const hostAndProject = `
host {
  data_dir   = "./data"
  plugin_dir = %q
  memory     = "4MiB"
}
project "shop" {
  id    = 2195193
  token = env("SHOP_TOKEN")
}
source "files" "import" {
  project = "shop"
  path    = "./events/*"
}
`

const localDestination = `
destination "localfs" "out" {
  path = "./out"
}
`

// newSite makes a site with a localfs destination and one events pipeline.
func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteWith(t, localDestination, "localfs.out")
}

func newSiteWith(t *testing.T, destination, reference string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.write("penstock.hcl", fmt.Sprintf(hostAndProject, filepath.Join(binaries, "plugins"))+destination+s.pipeline("events_out", reference))
	if err := os.Mkdir(filepath.Join(s.dir, "events"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) pipeline(name, destination string) string {
	return fmt.Sprintf(`
pipeline %q {
  project     = "shop"
  stream      = "events"
  destination = %q
  from_date   = %q
}
`, name, destination, base.AddDate(0, 0, -30).Format("2006-01-02"))
}

func (s *site) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

func (s *site) append(name, content string) {
	s.t.Helper()
	s.write(name, s.read(name)+content)
}

// says checks how a command ended and what it said.
func (s *site) says(r result, status int, texts ...string) {
	s.t.Helper()
	if r.status != status || r.signal != 0 {
		s.t.Errorf("status %d, signal %v, want %d", r.status, r.signal, status)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			s.t.Errorf("%q is not said", text)
		}
	}
	if s.t.Failed() {
		s.t.Fatalf("it said:\n%s%s", r.out, r.err)
	}
}

// event is one record in the shape of Mixpanel's export.
func event(day, n int, extra string) string {
	at := base.AddDate(0, 0, day).Unix() + int64(n%86400)
	return fmt.Sprintf(`{"event":"Item %d","properties":{"time":%d,"distinct_id":"user-%d","$insert_id":"id-%d-%d","token":"secret","city":"Zürich 🏔","hash":"%x","n":%d%s}}`,
		n%7, at, n%97, day, n, sha256.Sum256(fmt.Append(nil, day, n)), n, extra)
}

// events writes a file of count events spread over days.
func (s *site) events(name string, firstDay, days, count int) {
	s.t.Helper()
	var b strings.Builder
	for n := range count {
		b.WriteString(event(firstDay+n%days, n, ""))
		b.WriteByte('\n')
	}
	s.write(filepath.Join("events", name), b.String())
}

// result is how a command ended.
type result struct {
	out, err string
	status   int
	signal   syscall.Signal
	memory   int64 // the most that was resident, in bytes; of the command alone
}

// environment is that of a process, with a project token unless env says
// "SHOP_TOKEN" alone.
func environment(env []string) []string {
	if slices.Contains(env, "SHOP_TOKEN") {
		return append(os.Environ(), env...)
	}
	return append(append(os.Environ(), "SHOP_TOKEN=tok-7c1d"), env...)
}

// penstock runs a command of the host to its end.
func (s *site) penstock(env []string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(binaries, "penstock"), append(args, "--config", "penstock.hcl")...)
	command.Dir = s.dir
	command.Env = environment(env)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	r := result{out: stdout.String(), err: stderr.String()}
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.memory = usage.Maxrss << 10 // Linux counts KiB
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		r.status, r.signal = status.ExitStatus(), 0
		if status.Signaled() {
			r.signal = status.Signal()
		}
	} else if err != nil {
		s.t.Fatalf("run penstock: %v", err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("penstock %v did not end\n%s", args, r.err)
	}
	return r
}

// once runs everything to its end and fails the test when that fails.
func (s *site) once(env ...string) result {
	s.t.Helper()
	r := s.penstock(env, "run", "--once", "--retry-for", "10s")
	if r.status != 0 || r.signal != 0 {
		s.t.Fatalf("run --once: status %d, signal %v\n%s\n%s", r.status, r.signal, r.out, r.err)
	}
	return r
}

// objects are the .json.gz files below out, by path relative to it, each with
// the hash of its bytes.
func (s *site) objects(out string) map[string]string {
	s.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(s.dir, out), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json.gz") {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		relative, err := filepath.Rel(filepath.Join(s.dir, out), path)
		found[relative] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// rows reads all rows below out, sorted by date and line: "2026-06-01 {…}".
// Each must lie in the directory of its own UTC day.
func (s *site) rows(out string) []string {
	s.t.Helper()
	var rows []string
	for object := range s.objects(out) {
		parts := strings.Split(object, string(filepath.Separator))
		date := strings.Join(parts[len(parts)-4:len(parts)-1], "-")
		for _, line := range readObject(s.t, filepath.Join(s.dir, out, object)) {
			rows = append(rows, checkedRow(s.t, object, date, line))
		}
	}
	sort.Strings(rows)
	return rows
}

func checkedRow(t *testing.T, object, date, line string) string {
	t.Helper()
	var row struct {
		Time int64 `json:"time"`
	}
	if err := json.Unmarshal([]byte(line), &row); err != nil {
		t.Fatalf("%s: %v in %s", object, err, line)
	}
	if day := time.Unix(row.Time, 0).UTC().Format("2006-01-02"); day != date {
		t.Errorf("%s holds a row of %s", object, day)
	}
	return date + " " + line
}

// readObject reads a gzip file that must be one single member.
func readObject(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	z.Multistream(false)
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("%s: bytes behind the gzip member", path)
	}
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// sameRows fails the test unless got is want, each row once.
func sameRows(t *testing.T, got, want []string) {
	t.Helper()
	for i := 1; i < len(got); i++ {
		if got[i] == got[i-1] {
			t.Errorf("twice at the destination: %s", got[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d rows at the destination, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("row %d:\n got %s\nwant %s", i, got[i], want[i])
			return
		}
	}
}
