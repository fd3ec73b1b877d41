package penstocktest

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// Objects are the .json.gz files below out, by path relative to it, each with
// the hash of its bytes.
func (s *Site) Objects(out string) map[string]string {
	s.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(s.Dir, out), func(path string, d os.DirEntry, err error) error {
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
		relative, err := filepath.Rel(filepath.Join(s.Dir, out), path)
		found[relative] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// Rows reads all rows below out, sorted by date and line: "2026-06-01 {…}".
// Each must lie in the directory of its own UTC day.
func (s *Site) Rows(out string) []string {
	s.t.Helper()
	var rows []string
	for object := range s.Objects(out) {
		parts := strings.Split(object, string(filepath.Separator))
		date := strings.Join(parts[len(parts)-4:len(parts)-1], "-")
		for _, line := range ReadObject(s.t, filepath.Join(s.Dir, out, object)) {
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

// ReadObject reads a gzip file that must be one single member.
func ReadObject(t *testing.T, path string) []string {
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
		t.Errorf("%s: bytes after the gzip member", path)
	}
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// SameRows fails the test unless got is want, each row once.
func SameRows(t *testing.T, got, want []string) {
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
