package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// serialLimit is the most processor time of a stage of a project that works in one
// goroutine, in µs per event.
const serialLimit = 0.1

// cores measures what more processors bring, for files of all forms, and the stages that
// only one of them can work on.
func cores(ctx context.Context, b *runner, r *report) error {
	month, err := b.month()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "forms")
	defer os.RemoveAll(dir)
	forms, err := writeForms(month, dir)
	if err != nil {
		return err
	}
	var subjects []*subject
	for _, processors := range []int{1, 2} {
		for _, in := range append([]*input{month}, forms...) {
			j := job{name: fmt.Sprintf("%s, GOMAXPROCS %d", formOf(in), processors), targets: []string{"localfs"}, env: []string{fmt.Sprintf("GOMAXPROCS=%d", processors)}}
			subjects = append(subjects, b.subject(ctx, nil, in, j))
		}
	}
	if err := b.alternate(ctx, month, subjects, b.n); err != nil {
		return err
	}
	r.table(month, subjects, b.n)
	return b.serial(ctx, r)
}

// serial prints the processor time of the stages that work in one goroutine each.
func (b *runner) serial(ctx context.Context, r *report) error {
	values, err := goBench(ctx, b.root, "./host/internal/intake", "^BenchmarkSerial$", b.n)
	if err != nil {
		return err
	}
	head(fmt.Sprintf("stages of one goroutine, µs CPU per event, n = %d", b.n), "reader", "appender", "process")
	for _, form := range []string{"lines", "array", "lines.gz"} {
		v := values["Serial/"+form+"/processors=2"]
		reader, appender := median(v["µs/event-reader"]), median(v["µs/event-appender"])
		row(form, number(reader), number(appender), number(median(v["µs/event-process"])))
		r.atMost("serial, reader of "+form, reader, serialLimit, "µs CPU per event")
		r.atMost("serial, appender of "+form, appender, serialLimit, "µs CPU per event")
	}
	return nil
}

// formOf names the form of an input.
func formOf(in *input) string {
	switch filepath.Base(in.path) {
	case "array.json":
		return "an array on one line"
	case "lines.ndjson.gz":
		return "gzip"
	case "*.ndjson":
		return "8 files"
	case "*.ndjson.gz":
		return "8 files, gzip"
	}
	return "lines"
}

// writeForms writes the events of a file of lines in other forms: as one array, compressed,
// and as eight files, which are plain or compressed.
func writeForms(in *input, dir string) ([]*input, error) {
	var forms []*input
	for _, form := range []struct {
		path  string
		write func(lines io.Reader, path string) error
	}{{"array.json", writeArray}, {"lines.ndjson.gz", writeGzip}, {"8/*.ndjson", writeEight}, {"8gz/*.ndjson.gz", writeEight}} {
		path := filepath.Join(dir, form.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		lines, err := os.Open(in.path)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(form.write(lines, path), lines.Close()); err != nil {
			return nil, err
		}
		of := *in
		of.path = path
		forms = append(forms, &of)
	}
	return forms, nil
}

func writeArray(lines io.Reader, path string) error {
	return writeFile(path, func(w io.Writer) error {
		scanner := bufio.NewScanner(lines)
		separator := "["
		for scanner.Scan() {
			if _, err := fmt.Fprintf(w, "%s%s", separator, scanner.Bytes()); err != nil {
				return err
			}
			separator = ","
		}
		_, err := io.WriteString(w, "]")
		return errors.Join(err, scanner.Err())
	})
}

func writeGzip(lines io.Reader, path string) error {
	return writeFile(path, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, 1)
		if err != nil {
			return err
		}
		_, err = io.Copy(z, lines)
		return errors.Join(err, z.Close())
	})
}

// writeEight writes files whose names match the pattern path, compressed if these end in .gz.
func writeEight(lines io.Reader, path string) error {
	data, err := io.ReadAll(lines)
	if err != nil {
		return err
	}
	dir, suffix := filepath.Dir(path), strings.TrimPrefix(filepath.Base(path), "*")
	for n := range 8 {
		end := len(data) * (n + 1) / 8
		begin := 0
		if n > 0 {
			begin = lineAt(data, len(data)*n/8)
		}
		part, to := bytes.NewReader(data[begin:lineAt(data, end)]), filepath.Join(dir, strconv.Itoa(n)+suffix)
		if strings.HasSuffix(suffix, ".gz") {
			err = writeGzip(part, to)
		} else {
			err = writeFile(to, func(w io.Writer) error { _, err := part.WriteTo(w); return err })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lineAt returns the beginning of the first line that begins at a position or later.
func lineAt(data []byte, at int) int {
	if at >= len(data) {
		return len(data)
	}
	return at + bytes.IndexByte(data[at-1:], '\n')
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(write(w), w.Flush(), f.Close())
}
