package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/variant"
)

// Facts of COPY INTO (https://docs.snowflake.com/en/sql-reference/sql/copy-into-table,
// https://docs.snowflake.com/en/user-guide/data-load-considerations-load).
const (
	copyFiles    = 1000                // names in FILES
	loadMetadata = 64 * 24 * time.Hour // how long a table knows its loaded files
)

// format is how a file is read.
type format struct {
	compression string
	multiLine   bool
	stripArray  bool
	parse       variant.Options
}

// loading is one COPY.
type loading struct {
	onError   string
	force     bool
	uncertain bool
	purge     bool
	format    format
}

// fileResult is a row of COPY's result.
type fileResult struct {
	file           object
	status         string
	parsed, loaded int64
	errors         int64
	first          string
	line           int64
}

func (x *execution) copyInto(ctx context.Context, s *snowsql.CopyInto) (*result, error) {
	t, err := x.findTable(s.Table, "INSERT")
	if err != nil {
		return nil, err
	}
	p, err := x.location(s.From, "READ")
	if err != nil {
		return nil, err
	}
	l, err := x.loading(s)
	if err != nil {
		return nil, err
	}
	columns, places, err := targets(t, s.Columns)
	if err != nil {
		return nil, err
	}
	if len(columns) != 1 || !columns[0].Type.Semi() {
		return nil, refuse(2019, "0A000", "SQL compilation error:\nJSON file format can produce one and only one column of variant, object, or array type. Load data into separate columns using the MATCH_BY_COLUMN_NAME copy option or copy with transformation.")
	}
	files, err := x.candidates(ctx, p, s)
	if err != nil {
		return nil, err
	}
	files = x.unloaded(t, files, l)
	if len(files) == 0 {
		r := status("Copy executed with 0 files processed.")
		r.kind = typeCopy
		return r, nil
	}
	return x.loadFiles(ctx, t, places[0], p, files, l)
}

func flag(o snowsql.Option) (bool, error) {
	switch strings.ToUpper(o.Text) {
	case "TRUE":
		return true, nil
	case "FALSE":
		return false, nil
	}
	return false, refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter", o.Text)
}

func (x *execution) loading(s *snowsql.CopyInto) (*loading, error) {
	l := &loading{onError: "ABORT_STATEMENT"}
	if len(s.Files) > copyFiles {
		return nil, refuse(1013, "22000", "SQL compilation error:\nThe number of files specified in FILES exceeds the maximum of %d", copyFiles)
	}
	if s.HasList && s.Pattern != "" {
		return nil, refuse(1006, "42601", "SQL compilation error:\nFILES and PATTERN cannot be specified together")
	}
	var err error
	for name, o := range s.Options {
		switch name {
		case "FILE_FORMAT":
			l.format, err = fileFormat(o)
		case "ON_ERROR":
			l.onError = strings.ToUpper(o.Text)
			if l.onError != "ABORT_STATEMENT" && l.onError != "CONTINUE" && l.onError != "SKIP_FILE" {
				return nil, refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'ON_ERROR'", o.Text)
			}
		case "FORCE":
			l.force, err = flag(o)
		case "LOAD_UNCERTAIN_FILES":
			l.uncertain, err = flag(o)
		case "PURGE":
			l.purge, err = flag(o)
		default:
			return nil, snowsql.Unsupported("COPY INTO with %s", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, ok := s.Options["FILE_FORMAT"]; !ok {
		return nil, snowsql.Unsupported("COPY INTO without FILE_FORMAT")
	}
	return l, nil
}

// fileFormat reads FILE_FORMAT = (TYPE = JSON …) with the defaults of JSON.
func fileFormat(o snowsql.Option) (format, error) {
	f := format{compression: "AUTO", multiLine: true}
	if o.Kind != "options" || !strings.EqualFold(o.Options["TYPE"].Text, "JSON") {
		return f, snowsql.Unsupported("a file format that is not TYPE = JSON")
	}
	for name, v := range o.Options {
		var err error
		switch name {
		case "TYPE":
		case "COMPRESSION":
			f.compression = strings.ToUpper(v.Text)
			if !slices.Contains([]string{"AUTO", "GZIP", "NONE"}, f.compression) {
				return f, snowsql.Unsupported("COMPRESSION = %s", v.Text)
			}
		case "MULTI_LINE":
			f.multiLine, err = flag(v)
		case "STRIP_OUTER_ARRAY":
			f.stripArray, err = flag(v)
		case "ALLOW_DUPLICATE":
			f.parse.Duplicates, err = flag(v)
		case "STRIP_NULL_VALUES":
			f.parse.StripNulls, err = flag(v)
		case "REPLACE_INVALID_CHARACTERS", "IGNORE_UTF8_ERRORS":
			f.parse.ReplaceInvalid, err = flag(v)
		case "ENABLE_OCTAL", "TRIM_SPACE":
			var on bool
			if on, err = flag(v); on {
				err = snowsql.Unsupported("%s", name)
			}
		case "SKIP_BYTE_ORDER_MARK":
			_, err = flag(v)
		default:
			err = refuse(1006, "42601", "SQL compilation error:\ninvalid parameter '%s'", name)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// candidates are the files of FILES, or those below the path. The path and a name are
// put together as they are.
func (x *execution) candidates(ctx context.Context, p place, s *snowsql.CopyInto) ([]object, error) {
	if !s.HasList {
		list, err := x.srv.storage.list(ctx, p)
		if err != nil {
			return nil, err
		}
		return matching(list, s.Pattern)
	}
	list, err := x.srv.storage.list(ctx, p)
	if err != nil {
		return nil, err
	}
	byName := map[string]object{}
	for _, o := range list {
		byName[o.relative] = o
	}
	var files []object
	for _, name := range s.Files {
		o, found := byName[p.path+name]
		if !found {
			return nil, refuse(91016, "22000", "Remote file '%s' was not found. There are several potential causes. The file might not exist. The required credentials may be missing or invalid. If you are running a copy command, please make sure files are not deleted when they are being loaded or files are not being loaded into two different tables concurrently with auto purge option.", p.shown+p.path+name)
		}
		if !slices.ContainsFunc(files, func(f object) bool { return f.key == o.key }) {
			files = append(files, o)
		}
	}
	return files, nil
}

func loadKey(o object) string { return o.key + "\n" + o.etag + "\n" + strconv.FormatInt(o.size, 10) }

// unloaded leaves out the files that the table has loaded, and those of which it cannot
// know.
func (x *execution) unloaded(t *table, files []object, l *loading) []object {
	now := x.srv.now()
	return slices.DeleteFunc(files, func(o object) bool {
		if l.force {
			return false
		}
		for _, f := range x.tx.loaded {
			if f.key == loadKey(o) && f.table.physical == t.physical {
				return true
			}
		}
		if at, ok := t.loadedAt(loadKey(o)); ok && now.Sub(at) < loadMetadata {
			return true
		}
		return !l.uncertain && now.Sub(o.modified) > loadMetadata && now.Sub(t.created) > loadMetadata
	})
}

func (x *execution) loadFiles(ctx context.Context, t *table, column int, p place, files []object, l *loading) (*result, error) {
	x.tx.touched[t] = true
	var results []*fileResult
	err := x.srv.transactions.write(ctx, func(c *sql.Conn) error {
		results = nil
		for _, o := range files {
			r, err := x.loadFile(ctx, c, t, column, p, o, l)
			if err != nil {
				return err
			}
			results = append(results, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.status != "LOAD_FAILED" {
			x.tx.loaded = append(x.tx.loaded, loadedFile{t, loadKey(r.file), x.srv.now()})
			if l.purge {
				if err := x.srv.storage.remove(ctx, p, r.file); err != nil {
					return nil, err
				}
			}
		}
	}
	return copyResult(results), nil
}

func copyResult(results []*fileResult) *result {
	out := &result{kind: typeCopy}
	for _, name := range []string{"file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen", "first_error", "first_error_line", "first_error_character", "first_error_column_name"} {
		c := snowsql.OutColumn{Name: name, Type: varchar}
		if strings.HasPrefix(name, "rows_") || strings.HasPrefix(name, "error") || strings.HasSuffix(name, "_line") || strings.HasSuffix(name, "_character") {
			c.Type = integer
		}
		out.columns = append(out.columns, c)
	}
	for _, r := range results {
		number := func(n int64) *string { s := strconv.FormatInt(n, 10); return &s }
		row := []*string{&r.file.name, &r.status, number(r.parsed), number(r.loaded), number(1), number(r.errors), nil, nil, nil, nil}
		if r.errors > 0 {
			row[6], row[7], row[8] = &r.first, number(r.line), number(1)
		}
		out.rows = append(out.rows, row)
	}
	return out
}

// loadFile appends the rows of a file.
func (x *execution) loadFile(ctx context.Context, c *sql.Conn, t *table, column int, p place, o object, l *loading) (*fileResult, error) {
	r := &fileResult{file: o, status: "LOADED"}
	body, err := x.srv.storage.open(ctx, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	source, err := decompress(body, o.name, l.format.compression)
	if err != nil {
		return nil, refuse(100016, "22000", "Failed to decompress the file %s: %v", o.name, err)
	}
	var skipped error
	err = c.Raw(func(connection any) error {
		raw, ok := connection.(driver.Conn)
		if !ok {
			return errors.New("the connection of DuckDB is not a driver.Conn")
		}
		appender, err := duckdb.NewAppender(raw, "", "", t.physical)
		if err != nil {
			return err
		}
		pending := x.appendRows(ctx, appender, t, column, source, l, r)
		if pending != nil && l.onError == "SKIP_FILE" {
			skipped, pending = pending, nil
			return appender.Clear()
		}
		return errors.Join(pending, appender.Close())
	})
	if skipped != nil {
		r.status, r.loaded = "LOAD_FAILED", 0
	}
	if err == nil && r.errors > 0 && r.status == "LOADED" {
		r.status = "PARTIALLY_LOADED"
	}
	return r, err
}

func decompress(body io.Reader, name, compression string) (io.Reader, error) {
	b := bufio.NewReaderSize(body, 64<<10)
	start, _ := b.Peek(2)
	zipped := bytes.Equal(start, []byte{0x1f, 0x8b})
	switch {
	case compression == "NONE":
		return b, nil
	case compression == "AUTO" && !strings.HasSuffix(name, ".gz"):
		return b, nil
	case !zipped:
		return nil, errors.New("not in gzip format")
	}
	return gzip.NewReader(b)
}

func (x *execution) appendRows(ctx context.Context, appender *duckdb.Appender, t *table, column int, source io.Reader, l *loading, r *fileResult) error {
	row := make([]driver.Value, len(t.columns)+2)
	row[len(row)-2], row[len(row)-1] = x.tx.id, int64(0)
	add := func(document string) error {
		row[column] = document
		r.loaded++
		return appender.AppendRow(row...)
	}
	limit := x.srv.maxVariant.Load()
	for d := newDocuments(source, l.format, limit); ; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		documents, err := d.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		r.parsed += max(1, int64(len(documents)))
		var bad *badDocument
		switch {
		case errors.As(err, &bad) && l.onError == "CONTINUE":
			if r.errors++; r.errors == 1 {
				r.first, r.line = bad.message, d.line
			}
			continue
		case errors.As(err, &bad):
			if r.errors++; r.errors == 1 {
				r.first, r.line = bad.message, d.line
			}
			return refuse(bad.code, bad.state, "%s\n  File '%s', line %d, character 1\n  Row %d starts at line %d, column \"%s\"[\"%s\":%d]\n  If you would like to continue loading when an error is encountered, use other values such as 'SKIP_FILE' or 'CONTINUE' for the ON_ERROR option. For more information on loading options, please run 'info loading_data' in a SQL client.", bad.message, r.file.name, d.line, r.parsed, d.line, t.name, t.columns[column].Name, column+1)
		case err != nil:
			return refuse(100016, "22000", "Failed to read the file %s: %v", r.file.name, err)
		}
		for _, document := range documents {
			if err := add(document); err != nil {
				return err
			}
		}
	}
}

// badDocument is a row that cannot be loaded.
type badDocument struct {
	code           int
	state, message string
}

func (b *badDocument) Error() string { return b.message }

// documents reads the documents of a file.
type documents struct {
	source *bufio.Reader
	format format
	limit  int64
	line   int64
	rest   []byte // of a file with MULTI_LINE
	read   bool
}

func newDocuments(source io.Reader, f format, limit int64) *documents {
	return &documents{source: bufio.NewReaderSize(source, 1<<20), format: f, limit: limit}
}

// next returns the rows of the next document: one, or those of an outer array.
func (d *documents) next() ([]string, error) {
	if d.format.multiLine {
		return d.nextDocument()
	}
	for {
		line, err := d.source.ReadBytes('\n')
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return nil, err
		}
		d.line++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		document, err := variant.Parse(line, d.format.parse)
		if err != nil {
			return nil, parseFailure(err)
		}
		return d.rows(document)
	}
}

func (d *documents) nextDocument() ([]string, error) {
	if !d.read {
		all, err := io.ReadAll(d.source)
		if err != nil {
			return nil, err
		}
		d.rest, d.read, d.line = bytes.TrimPrefix(all, []byte("\xef\xbb\xbf")), true, 1
	}
	document, rest, err := variant.Next(d.rest, d.format.parse)
	if err != nil {
		if next := bytes.IndexByte(d.rest, '\n'); next >= 0 {
			d.rest = d.rest[next+1:]
		} else {
			d.rest = nil
		}
		return nil, parseFailure(err)
	}
	if document == "" {
		return nil, io.EOF
	}
	d.line += int64(bytes.Count(d.rest[:len(d.rest)-len(rest)], []byte{'\n'}))
	d.rest = rest
	return d.rows(document)
}

func parseFailure(err error) error {
	text := err.Error()
	if strings.HasPrefix(text, "Invalid UTF8") {
		return &badDocument{100144, "22000", text}
	}
	return &badDocument{100069, "22P02", "Error parsing JSON: " + text}
}

func (d *documents) rows(document string) ([]string, error) {
	list := []string{document}
	if d.format.stripArray && document[0] == '[' {
		list = nil
		variant.Elements(document, func(_, element string) { list = append(list, element) })
	}
	for _, row := range list {
		if int64(len(row)) > d.limit {
			return nil, &badDocument{100082, "22000", fmt.Sprintf("Max LOB size (%d) exceeded, actual size of parsed column is %d", d.limit, len(row))}
		}
	}
	return list, nil
}
