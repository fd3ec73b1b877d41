package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// Read returns the rows of the committed runs, by date.
func Read(dir string, projectID int64, stream sdk.Stream) (map[string][]string, error) {
	base := (&Store{Dir: dir, ProjectID: projectID}).base(stream)
	l, err := edit(base, nil)
	if err != nil {
		return nil, err
	}
	rows := make(map[string][]string)
	for _, c := range l.visible() {
		// The directories of all attempts: an honest store has one.
		files, err := filepath.Glob(runDir(base, c.PipelineID, c.Number) + "*/*.ndjson")
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			_, date, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".ndjson"), "-")
			for line := range strings.Lines(string(data)) {
				rows[date] = append(rows[date], strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return rows, nil
}

// Objects fingerprints the data files.
func Objects(dir string, projectID int64, stream sdk.Stream) (map[string]string, error) {
	root := filepath.Join((&Store{Dir: dir, ProjectID: projectID}).base(stream), "data")
	found := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return found, err
}
