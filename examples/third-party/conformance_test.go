package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/destinationtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Harness{
		Package: ".",
		Config:  func(t destinationtest.T) map[string]any { return map[string]any{"path": t.TempDir()} },
		Bad: []destinationtest.BadConfig{{
			Name: "a relative path", Attributes: []string{"path"},
			Change: func(config map[string]any) { config["path"] = "out" },
		}},
		Read:    readCommitted,
		Objects: fingerprints,
	})
}

// readCommitted reads as a consumer would: the files that the ledger names.
func readCommitted(_ context.Context, at destinationtest.Place) (map[string][]string, error) {
	dir := projectDir(at.Config["path"].(string), at.Project.ID)
	l, err := (&store{dir: dir}).read()
	if err != nil {
		return nil, err
	}
	rows := make(map[string][]string)
	for _, s := range l.Pipelines {
		for _, name := range s.Files {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			date := name[len(name)-len("2026-06-01.ndjson") : len(name)-len(".ndjson")]
			for line := range strings.Lines(string(data)) {
				rows[date] = append(rows[date], strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return rows, nil
}

func fingerprints(_ context.Context, at destinationtest.Place) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(projectDir(at.Config["path"].(string), at.Project.ID), "*.ndjson"))
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found[filepath.Base(name)] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return found, nil
}
