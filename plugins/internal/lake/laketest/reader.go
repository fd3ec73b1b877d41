package laketest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/sdk"
)

// Target is the target of one pipeline. It reads exported rows by the rules of
// docs/manifest.md and shares no code with the lake. Parquet files are read with
// package parquet, and properties that are a string with encoding/json; test/queries
// reads both with DuckDB.
type Target struct {
	// Files is the directory or bucket below the prefix.
	Files      fs.FS
	ProjectID  int64
	Pipeline   string
	PipelineID string
	Stream     sdk.Stream
	// Strings: the properties in NDJSON are a string, as package jsonlines writes
	// them. Rows are returned with the object.
	Strings bool
}

func (t Target) stream() string {
	return map[sdk.Stream]string{
		sdk.Events: "mp_master_event", sdk.People: "mp_people_data", sdk.Identity: "mp_identity_mappings_data",
	}[t.Stream]
}

func (t Target) project() string { return strconv.FormatInt(t.ProjectID, 10) }

func (t Target) dir() string { return path.Join(t.project(), t.stream()) }

// Committed returns the committed rows by date. The date of a replaced set is
// empty.
func (t Target) Committed() (map[string][]string, error) {
	stem := t.Pipeline + "-" + t.PipelineID
	data, err := fs.ReadFile(t.Files, path.Join(t.project(), "_penstock", t.stream(), stem+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	var manifest struct {
		Format  string
		Version int
		Run     int64   `json:"last_committed_run"`
		Void    []int64 `json:"void_runs"`
		Files   []struct{ Name string }
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if manifest.Format != "penstock-manifest" || manifest.Version != 1 {
		return nil, fmt.Errorf("the manifest is %s version %d", manifest.Format, manifest.Version)
	}
	rows := make(map[string][]string)
	if t.Stream != sdk.Events {
		for _, f := range manifest.Files {
			// Names start at the bucket's root, before the prefix.
			if err := t.read(path.Join(t.dir(), path.Base(f.Name)), "", rows); err != nil {
				return nil, err
			}
		}
		return rows, nil
	}
	err = t.walk(func(name string) error {
		base, ok := strings.CutPrefix(path.Base(name), stem+"-")
		number, _, _ := strings.Cut(base, "-")
		run, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || run > manifest.Run || slices.Contains(manifest.Void, run) {
			return nil
		}
		date := strings.TrimPrefix(path.Dir(name), t.dir()+"/")
		return t.read(name, strings.ReplaceAll(date, "/", "-"), rows)
	})
	return rows, err
}

// Objects returns a fingerprint of every data object of the stream by name. The
// pipeline's id in the names is replaced by "id".
func (t Target) Objects() (map[string]string, error) {
	found := make(map[string]string)
	err := t.walk(func(name string) error {
		data, err := fs.ReadFile(t.Files, name)
		sum := sha256.Sum256(data)
		found[strings.ReplaceAll(name, t.PipelineID, "id")] = fmt.Sprintf("%x", sum[:8])
		return err
	})
	return found, err
}

// walk visits the files that a query engine would read: all files below the
// stream's directory whose names do not start with a dot or an underscore.
func (t Target) walk(visit func(name string) error) error {
	err := fs.WalkDir(t.Files, t.dir(), func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_"):
			return nil
		case !strings.HasSuffix(name, ".json.gz") && !strings.HasSuffix(name, ".parquet"):
			return fmt.Errorf("%s lies among the data", name)
		}
		return visit(name)
	})
	if err != nil {
		return fmt.Errorf("walk %s: %w", t.dir(), err)
	}
	return nil
}

// readParquet appends the rows of a Parquet file as lines.
func (t Target) readParquet(name string, data []byte, date string, rows map[string][]string) error {
	err := parquet.Read(bytes.NewReader(data), int64(len(data)), t.Stream, func(row *columns.Row) error {
		rows[date] = append(rows[date], string(columns.AppendLine(nil, t.Stream, row, false)))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// read appends the rows of an object. NDJSON must be a single gzip member.
func (t Target) read(name, date string, rows map[string][]string) error {
	data, err := fs.ReadFile(t.Files, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	r := bytes.NewReader(data)
	if strings.HasSuffix(name, ".parquet") {
		return t.readParquet(name, data, date, rows)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if r.Len() != 0 {
		return fmt.Errorf("read %s: %d bytes follow the first gzip member", name, r.Len())
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if t.Strings {
			if line, err = withObject(line); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
		rows[date] = append(rows[date], line)
	}
	return nil
}

// withObject replaces the string of a row's properties by the object that it holds:
//
//	{"distinct_id":"u","properties":"{\"a\":1}"}
//	{"distinct_id":"u","properties":{"a":1}}
func withObject(line string) (string, error) {
	var row struct{ Properties json.RawMessage }
	if err := json.Unmarshal([]byte(line), &row); err != nil || row.Properties == nil {
		return line, err
	}
	var object string
	if err := json.Unmarshal(row.Properties, &object); err != nil {
		return "", err
	}
	return strings.Replace(line, `"properties":`+string(row.Properties), `"properties":`+object, 1), nil
}
