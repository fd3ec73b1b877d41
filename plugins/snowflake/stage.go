package snowflake

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/sdk"
)

// uploadParallel is how many threads the driver uploads a file with.
const uploadParallel = 4

// filesPerCopy is how many files one COPY may list.
const filesPerCopy = 1000

// uploadWord begins the statement of an upload.
const uploadWord = "PUT "

// stage is the place where files wait for COPY. It is safe for concurrent use.
type stage interface {
	// name returns the stage's name in the schema.
	name() string
	// create returns the statement that creates the stage under a name.
	create(name string) string
	// grants returns the statements that grant what the use of a stage of a name needs.
	grants(name string) string
	// compare returns an error if a stage that exists, as SHOW describes it, is not this one.
	compare(described row) error
	// relative returns the path below the stage of a name that LIST returns. It reports
	// whether the name is in the stage.
	relative(name string) (string, bool)
	// outside reports whether files are uploaded and removed without the service: put and
	// remove then use no session.
	outside() bool
	// put uploads a file to a directory of the stage that has the name at. It replaces a
	// file of the same name.
	put(ctx context.Context, x *session, file, at, dir string) error
	// remove removes all files of a directory of the stage that has the name at.
	remove(ctx context.Context, x *session, at, dir string) error
	// tidy ends what attempts with fences older than the run's have left unfinished.
	tidy(ctx context.Context, run sdk.Run) error
}

// internalStage is a stage in the service's own storage.
type internalStage struct{ config config }

func (s internalStage) name() string { return internalStageName }

func (s internalStage) create(name string) string {
	encryption := ""
	if !s.config.Encrypt {
		encryption = " ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"
	}
	return "CREATE STAGE IF NOT EXISTS " + s.config.in(name) + encryption + " COMMENT = 'Files of Penstock that wait for COPY.'"
}

func (s internalStage) grants(name string) string {
	return s.config.grantOn("READ, WRITE", "STAGE", s.config.in(name))
}

func (s internalStage) compare(row) error { return nil }

func (s internalStage) relative(name string) (string, bool) {
	_, path, found := strings.Cut(name, "/")
	return path, found
}

func (s internalStage) outside() bool { return false }

// put compares the service's answer. Without OVERWRITE a file of the same name would be
// left as it is, and the statement succeeds.
func (s internalStage) put(ctx context.Context, x *session, file, at, dir string) error {
	rows, err := x.rows(ctx, fmt.Sprintf(uploadWord+"%s %s AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP OVERWRITE = TRUE PARALLEL = %d",
		literal("file://"+file), s.config.stagePath(at, dir), uploadParallel))
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

func (s internalStage) remove(ctx context.Context, x *session, at, dir string) error {
	return x.run(ctx, "REMOVE "+s.config.stagePath(at, dir))
}

func (s internalStage) tidy(context.Context, sdk.Run) error { return nil }

// inStage runs f with a session if the stage needs one.
func (d *destination) inStage(ctx context.Context, run sdk.Run, f func(x *session) error) error {
	if d.stage.outside() {
		return f(nil)
	}
	return d.within(ctx, tagOf(run), f)
}

// stagedFile is a file in a stage.
type stagedFile struct {
	path     string // below the stage
	size     int64
	modified time.Time // zero: not known
}

// list returns the files of a directory of the stage that has the name at, as the
// service sees them.
func (d *destination) list(ctx context.Context, x *session, at, dir string) ([]stagedFile, error) {
	rows, err := x.rows(ctx, "LIST "+d.config.stagePath(at, dir))
	if err != nil {
		return nil, err
	}
	var files []stagedFile
	for _, r := range rows {
		path, found := d.stage.relative(r["name"])
		if !found {
			continue
		}
		f := stagedFile{path: path}
		if f.size, err = strconv.ParseInt(r["size"], 10, 64); err != nil {
			return nil, sdk.Retryable(fmt.Errorf("LIST answers the size %q", r["size"]), 0)
		}
		f.modified, _ = time.Parse(modifiedForm, r["last_modified"])
		files = append(files, f)
	}
	return files, nil
}

// modifiedForm is the form of last_modified in the answer of LIST.
const modifiedForm = "Mon, 2 Jan 2006 15:04:05 MST"

// compareStaged compares the files that the service sees in an attempt's directory with
// those that were uploaded without it.
func (d *destination) compareStaged(ctx context.Context, a *attempt) error {
	var staged []stagedFile
	err := d.within(ctx, tagOf(a.run), func(x *session) error {
		var err error
		staged, err = d.list(ctx, x, d.stage.name(), attemptDir(a.run))
		return err
	})
	if err != nil {
		return d.classify("list the stage", d.stage.grants(d.stage.name()), err)
	}
	return compareFiles(staged, attemptDir(a.run), a.files)
}

// compareFiles returns an error if files of a directory lack, or have another size. If
// all of them lack, the service reads another place. A size of 0 is not compared: files
// of an internal stage are padded by their encryption.
func compareFiles(staged []stagedFile, dir string, files []file) error {
	sizes := make(map[string]int64)
	for _, s := range staged {
		sizes[s.path] = s.size
	}
	if len(sizes) == 0 && len(files) > 0 {
		return sdk.Configuration(fmt.Errorf("the service sees none of the %d files that were uploaded to %s of the stage", len(files), dir),
			"the service and the plugin must reach the same bucket: compare stage_url and stage_endpoint with the stage and its integration, and look for a lifecycle rule that deletes new objects")
	}
	for _, f := range files {
		size, found := sizes[dir+f.name]
		switch {
		case !found:
			return sdk.Retryable(fmt.Errorf("the service does not see %s in %s of the stage", f.name, dir), 0)
		case f.size != 0 && size != f.size:
			return sdk.Retryable(fmt.Errorf("%s has %d bytes in the stage, and %d were uploaded", f.name, size, f.size), 0)
		}
	}
	return nil
}

const (
	// leftoverAge is the age after which files of any pipeline are removed from the stage.
	// Their attempt may live, if its host was frozen: its COPY then fails for want of the
	// files, and the run is exported again.
	leftoverAge = 7 * 24 * time.Hour
	// maxSwept bounds the directories that one run removes.
	maxSwept = 100
)

// stagedAttempt is the directory of an attempt in a stage.
type stagedAttempt struct {
	pipeline string // directory, as pipelineDir
	dir      string
	fence    int64
}

var (
	// attemptForm is the form of a file's path in an attempt's directory.
	attemptForm = regexp.MustCompile(`^(((?:events|people|identity)/[^/]+/)[0-9]{8,}_([0-9]{8,})_[0-9a-z]{1,8}/)[^/]+$`)
	// checkForm is the form of a file's path of a check.
	checkForm = regexp.MustCompile(`^(check/[^/]+/)[^/]+$`)
)

// attemptIn returns the attempt that a file's path belongs to. It reports whether the path
// has the form of one.
func attemptIn(path string) (stagedAttempt, bool) {
	if m := checkForm.FindStringSubmatch(path); m != nil {
		return stagedAttempt{dir: m[1]}, true
	}
	m := attemptForm.FindStringSubmatch(path)
	if m == nil {
		return stagedAttempt{}, false
	}
	fence, err := strconv.ParseInt(m[3], 10, 64)
	return stagedAttempt{pipeline: m[2], dir: m[1], fence: fence}, err == nil
}

// sweepStage removes the directories of the pipeline's attempts with older fences, since
// none of them can commit any more, and those of other pipelines and of checks that are
// older than leftoverAge, since such a pipeline may never run again.
func (d *destination) sweepStage(ctx context.Context, x *session, run sdk.Run) error {
	files, err := d.list(ctx, x, d.stage.name(), "")
	if err != nil {
		return err
	}
	for _, dir := range leftovers(files, run, d.now().Add(-leftoverAge)) {
		if err := d.stage.remove(ctx, x, d.stage.name(), dir); err != nil {
			return err
		}
		d.log.Info("files of an earlier attempt were removed from the stage", "directory", dir)
	}
	return d.stage.tidy(ctx, run)
}

// leftovers returns the directories to remove: of the run's pipeline those of attempts
// with older fences, of others those whose files are all older than a time. They are
// at most maxSwept, those of the pipeline first.
func leftovers(files []stagedFile, run sdk.Run, before time.Time) []string {
	var own, others []string
	young := make(map[string]bool)
	for _, f := range files {
		a, ok := attemptIn(f.path)
		switch {
		case !ok:
		case a.pipeline == pipelineDir(run):
			if a.fence < run.Fence && !slices.Contains(own, a.dir) {
				own = append(own, a.dir)
			}
		case f.modified.IsZero() || !f.modified.Before(before):
			young[a.dir] = true
		case !slices.Contains(others, a.dir):
			others = append(others, a.dir)
		}
	}
	others = slices.DeleteFunc(others, func(dir string) bool { return young[dir] })
	found := append(own, others...)
	return found[:min(len(found), maxSwept)]
}
