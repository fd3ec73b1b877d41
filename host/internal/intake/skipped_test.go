package intake

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Paths that a source matches and that are not regular files, or cannot be read,
// are named, and stop nothing else.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	t.Parallel()
	s := newFilesSite(t, "")
	s.text = strings.Replace(s.text, "./in/*", "./in/**/*", 1)
	const record = `{"event":"%s","properties":{"time":1780000000}}` + "\n"
	s.write("in/a.ndjson", fmt.Sprintf(record, "a"))
	s.write("in/z.ndjson", fmt.Sprintf(record, "z"))
	if err := syscall.Mkfifo(s.path("in/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", s.path("in/socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, target := range map[string]string{"in/loop": "loop", "in/up": ".", "in/nowhere": "nothing"} {
		if err := os.Symlink(target, s.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	events, _, err := s.once()
	if err == nil || events.Rows != 2 {
		t.Errorf("%+v, %v", events, err)
	}
	said := strings.Join(events.Skipped, "\n")
	for _, want := range []string{
		"in/fifo: it is a named pipe", "in/socket: it is a socket", "in/loop: too many levels of symbolic links", "in/up: it is a symbolic link to a directory",
		"in/nowhere: it is a symbolic link to a file that does not exist",
	} {
		if strings.Count(said, want) != 1 {
			t.Errorf("%q is not said once in\n%s", want, said)
		}
	}
	if len(events.Skipped) != 5 {
		t.Errorf("skipped\n%s", said)
	}
	status, _ := s.status()
	if u := status.Unread; u == nil || u.Files != 0 || u.SkippedPaths != 5 || strings.Join(slices.Sorted(slices.Values(u.Skipped)), "\n") != strings.Join(slices.Sorted(slices.Values(events.Skipped)), "\n") {
		t.Errorf("status has %+v, and was not read\n%s", u, said)
	}
	// Root reads everything: a host without that right is tried where there is one.
	if os.Getuid() != 0 {
		if err := os.Chmod(s.path("in/a.ndjson"), 0); err != nil {
			t.Fatal(err)
		}
		s.write("in/b.ndjson", fmt.Sprintf(record, "b"))
		if events, _, err = s.once(); err == nil || events.Rows != 1 || strings.Count(strings.Join(events.Skipped, "\n"), "in/a.ndjson: permission denied") != 1 {
			t.Errorf("%+v, %v", events, err)
		}
	}
}

// Status names files that no reading takes, with the reason, instead of counting them as
// not read yet.
func TestStatusNamesFilesOfOtherFormats(t *testing.T) {
	t.Parallel()
	const record = `{"event":"a","properties":{"time":1780000000}}` + "\n"
	for name, tt := range map[string]struct {
		data    string
		skipped string // "": it is read
	}{
		"a.ndjson":     {record, ""},
		"empty.ndjson": {"", ""},
		"a.xz":         {"\xfd7zXZ\x00\x00\x04", "it is compressed with xz, which is not read: use gzip or zstd"},
		"a.ndjson.gz":  {"\x1f\x8b\x08", ""},
		"a.zip":        {"PK\x03\x04\x14", "it is compressed with zip, which is not read: use gzip or zstd"},
	} {
		s := newFilesSite(t, "")
		s.write("in/"+name, tt.data)
		status, _ := s.status()
		u := status.Unread
		switch {
		case u == nil:
			t.Errorf("%s: status says that everything was read", name)
		case tt.skipped == "" && (u.Files != 1 || u.SkippedPaths != 0):
			t.Errorf("%s: %+v", name, u)
		case tt.skipped != "" && (u.Files != 0 || u.Bytes != 0 || u.SkippedPaths != 1 || u.Skipped[0] != s.path("in/"+name)+": "+tt.skipped):
			t.Errorf("%s: %+v", name, u)
		}
	}
}

// The directory of the configuration may have a name that would be a pattern,
// and a path that names no file is said.
func TestDirectoriesWithNamesOfPatterns(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"[prod]", "{eu,us}", "a*b?", `back\slash`} {
		s := newFilesSite(t, "")
		inner := &filesSite{t, filepath.Join(s.dir, name), s.text}
		if err := os.Rename(s.dir, s.dir+".moved"); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(s.dir+".moved", inner.dir); err != nil {
			t.Fatal(err)
		}
		events, _, err := inner.once()
		if status, _ := inner.status(); err != nil || events.Matched != 0 || status.NoFile == "" {
			t.Errorf("%s without a file: %+v, %v, status %+v", name, events, err, status)
		}
		inner.write("in/a.ndjson", `{"event":"e","properties":{"time":1780000000}}`)
		events, _, err = inner.once()
		if status, _ := inner.status(); err != nil || events.Rows != 1 || events.Matched != 1 || status.NoFile != "" {
			t.Errorf("%s: %+v, %v, status %+v", name, events, err, status)
		}
	}
}
