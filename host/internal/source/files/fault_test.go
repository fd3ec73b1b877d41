package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// faultyTree is a directory tree in which files and directories fail, for every
// user that runs the test: root may read everything.
type faultyTree struct {
	directory
	opens map[string]error // by base name of the file or directory
	reads map[string]int   // after how many bytes reading the file fails with EIO
}

func newFaultyTree(pattern string) *faultyTree {
	f := &faultyTree{opens: map[string]error{}, reads: map[string]int{}}
	f.directory = directory{pattern: pattern, dirFS: func(dir string) fs.FS { return faultyDir{os.DirFS(dir).(fs.ReadDirFS), f} }}
	return f
}

type faultyDir struct {
	fs.ReadDirFS
	tree *faultyTree
}

func (d faultyDir) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.tree.opens[filepath.Base(name)]; err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return d.ReadDirFS.ReadDir(name)
}

func (f *faultyTree) open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	if err := f.opens[filepath.Base(path)]; err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file, err := f.directory.open(ctx, path, from)
	if n, fails := f.reads[filepath.Base(path)]; fails && err == nil {
		return &faultyFile{file, path, int64(n) - from}, nil
	}
	return file, err
}

// faultyFile fails with EIO after some bytes.
type faultyFile struct {
	io.ReadCloser
	path string
	left int64
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: syscall.EIO}
	}
	n, err := f.ReadCloser.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// A file without permission, a directory that cannot be read (lost+found), and a
// file of which a block is damaged are each named once; everything else is read.
// Once they can be read, each of their records is read once.
func TestUnreadableFilesStopNothingElse(t *testing.T) {
	for _, suffix := range []string{"", ".gz"} {
		dir := t.TempDir()
		lines := func(name string) string {
			var b strings.Builder
			for n := range 100 {
				fmt.Fprintf(&b, "{\"%s\":%d}\n", name, n)
			}
			if suffix != "" {
				return gz(b.String())
			}
			return b.String()
		}
		for _, name := range []string{"a", "b", "c", "lost+found/d", "e", "f"} {
			write(t, dir, name+suffix, lines(filepath.Base(name)))
		}
		place := newFaultyTree(dir + "/**")
		place.opens["b"+suffix] = syscall.EACCES
		place.opens["lost+found"] = syscall.EACCES
		place.reads["c"+suffix] = 300
		place.reads["e"+suffix] = 0
		if suffix != "" {
			place.reads["c"+suffix] = 60
		}
		cursors := map[string][]byte{}
		read := func() (counts, told map[string]int) {
			t.Helper()
			counts, told = map[string]int{}, map[string]int{}
			s := newSource(Options{Name: "files.test", Now: later, Skipped: func(path, why string) {
				told[strings.TrimPrefix(path, dir+"/")+": "+why]++
			}}, place)
			s.size = 64
			if err := errors.Join(s.load(cursors), s.look(t.Context())); err != nil {
				t.Fatal(err)
			}
			r := &reading{cursors: []map[string][]byte{cursors}}
			for {
				p, err := s.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				r.take(t, p)
			}
			for _, record := range r.records {
				counts[record[2:3]]++
			}
			cursors = r.last()
			if got := len(s.Report().Skipped); got != len(told) {
				t.Errorf("%d paths are reported, %d were said", got, len(told))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return counts, told
		}
		counts, told := read()
		partly := counts["c"]
		delete(counts, "c")
		if diff := cmp.Diff(map[string]int{"a": 100, "f": 100}, counts); diff != "" || partly >= 100 {
			t.Errorf("%q: records, and %d of the damaged file (-want +got):\n%s", suffix, partly, diff)
		}
		want := map[string]int{
			"b" + suffix + ": permission denied": 1, "lost+found: permission denied": 1,
			"c" + suffix + ": input/output error": 1, "e" + suffix + ": input/output error": 1,
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%q: said (-want +got):\n%s", suffix, diff)
		}

		clear(place.opens)
		clear(place.reads)
		counts, told = read()
		counts["c"] += partly
		if diff := cmp.Diff(map[string]int{"b": 100, "c": 100, "d": 100, "e": 100}, counts); diff != "" || len(told) > 0 {
			t.Errorf("%q: records once all can be read, %v (-want +got):\n%s", suffix, told, diff)
		}
	}
}

// Records between a cursor and a damaged block are read, although the block is read ahead
// of them.
func TestReadingIsTakenUpBeforeADamagedBlock(t *testing.T) {
	const count = 2000
	dir := t.TempDir()
	var lines strings.Builder
	for n := range count {
		fmt.Fprintf(&lines, "{\"%d\":\"%x\"}\n", n, sha256.Sum256([]byte(strconv.Itoa(n))))
	}
	data := gz(lines.String())
	write(t, dir, "a.gz", data)
	cursors, seen := map[string][]byte{}, map[string]bool{}
	read := func(upTo int) {
		t.Helper()
		place := newFaultyTree(dir + "/*")
		place.reads["a.gz"] = upTo
		s := newSource(Options{Name: "files.test", Now: later}, place)
		s.size = 500
		if err := errors.Join(s.load(cursors), s.look(t.Context())); err != nil {
			t.Fatal(err)
		}
		r, before := &reading{cursors: []map[string][]byte{cursors}}, len(seen)
		for {
			p, err := s.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			r.take(t, p)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		cursors = r.last()
		for _, record := range r.records {
			if seen[record] {
				t.Errorf("%s was read before", record)
			}
			seen[record] = true
		}
		if len(seen) == before {
			t.Errorf("with %d bytes of %d no more records are read than the %d from before", upTo, len(data), before)
		}
	}
	read(len(data) / 2)
	read(len(data) * 3 / 4)
	read(len(data) + 1)
	if len(seen) != count {
		t.Errorf("%d records were read of %d", len(seen), count)
	}
}
