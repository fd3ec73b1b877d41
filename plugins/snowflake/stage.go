package snowflake

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/sdk"
)

// uploadParallel is how many threads the driver uploads a file with.
const uploadParallel = 4

// filesPerCopy is how many files one COPY may list.
const filesPerCopy = 1000

// put uploads a file to a directory of a stage, and compares the service's answer. A
// file of this name is overwritten: without OVERWRITE it would be left as it is, and
// the statement succeeds.
func (c config) put(ctx context.Context, x *session, file, stage, dir string) error {
	rows, err := x.rows(ctx, fmt.Sprintf("PUT %s %s AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP OVERWRITE = TRUE PARALLEL = %d",
		literal("file://"+file), c.stagePath(stage, dir), uploadParallel))
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0]["status"] != "UPLOADED" || path.Base(rows[0]["target"]) != path.Base(file) {
		return sdk.Retryable(fmt.Errorf("the upload of %s ended with %q", path.Base(file), fmt.Sprint(rows)), 0)
	}
	return nil
}

// copyStatement copies files of a directory into a table. Every file is named: a
// location is a prefix, and one without files would succeed with no rows. FORCE loads
// files whatever the table's load metadata says: the ledger is the record. A file with
// a bad row fails the statement.
func (c config) copyStatement(table, stage, dir string, files []file) string {
	var names []string
	for _, f := range files {
		names = append(names, literal(f.name))
	}
	return "COPY INTO " + c.in(table) + " FROM " + c.stagePath(stage, dir) + " FILES = (" + strings.Join(names, ", ") + ")" +
		" FILE_FORMAT = (TYPE = JSON COMPRESSION = GZIP MULTI_LINE = FALSE ALLOW_DUPLICATE = FALSE STRIP_OUTER_ARRAY = FALSE STRIP_NULL_VALUES = FALSE REPLACE_INVALID_CHARACTERS = FALSE)" +
		" ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
}

// file is a file in an attempt's directory.
type file struct {
	name string
	rows uint64
	size int64 // compressed
}

// load copies files into a table, and compares the counts of each.
func (c config) load(ctx context.Context, x *session, table, stage, dir string, files []file) error {
	for some := range slices.Chunk(files, filesPerCopy) {
		rows, err := x.rows(ctx, c.copyStatement(table, stage, dir, some))
		if err == nil {
			err = compareLoad(rows, some)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareLoad compares the answer of a COPY with the files that it was told to load.
func compareLoad(rows []row, files []file) error {
	loaded := make(map[string]row)
	for _, r := range rows {
		loaded[path.Base(r["file"])] = r
	}
	for _, f := range files {
		r, found := loaded[f.name]
		if !found {
			return sdk.Retryable(fmt.Errorf("COPY has not loaded %s: it answers %q", f.name, fmt.Sprint(rows)), 0)
		}
		parsed, err1 := strconv.ParseUint(r["rows_parsed"], 10, 64)
		stored, err2 := strconv.ParseUint(r["rows_loaded"], 10, 64)
		if err1 != nil || err2 != nil || r["status"] != "LOADED" || parsed != f.rows || stored != f.rows {
			return sdk.Retryable(fmt.Errorf("COPY of %s, which has %d rows: status %s, %s rows parsed, %s loaded, first error %q",
				f.name, f.rows, r["status"], r["rows_parsed"], r["rows_loaded"], r["first_error"]), 0)
		}
	}
	if len(loaded) != len(files) {
		return sdk.Retryable(fmt.Errorf("COPY has loaded %d files of %d", len(loaded), len(files)), 0)
	}
	return nil
}

// remove removes all files of a directory in the stage.
func (c config) remove(ctx context.Context, x *session, stage, dir string) error {
	return x.run(ctx, "REMOVE "+c.stagePath(stage, dir))
}

// attemptForm is the form of attemptOf.
var attemptForm = regexp.MustCompile(`^([0-9]{8,})_([0-9]{8,})_[0-9a-z]{1,8}$`)

// sweepStage removes the directories of the pipeline's attempts with older fences:
// killed attempts have left them, and none of them can commit any more.
func (s *service) sweepStage(ctx context.Context, x *session, run sdk.Run) error {
	rows, err := x.rows(ctx, "LIST "+s.config.stagePath(stageName, pipelineDir(run)))
	if err != nil {
		return err
	}
	for _, dir := range olderAttempts(rows, run) {
		if err := s.config.remove(ctx, x, stageName, dir); err != nil {
			return err
		}
		s.log.Info("files of an earlier attempt were removed from the stage", "directory", dir)
	}
	return nil
}

// olderAttempts returns the directories in a listing that belong to attempts with
// fences older than the run's.
func olderAttempts(rows []row, run sdk.Run) []string {
	var dirs []string
	for _, r := range rows {
		_, rest, found := strings.Cut(r["name"], "/"+pipelineDir(run))
		if !found {
			continue
		}
		attempt, _, _ := strings.Cut(rest, "/")
		m := attemptForm.FindStringSubmatch(attempt)
		if m == nil {
			continue
		}
		fence, err := strconv.ParseInt(m[2], 10, 64)
		dir := pipelineDir(run) + attempt + "/"
		if err == nil && fence < run.Fence && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
