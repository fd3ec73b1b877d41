package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/durable"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/private"
)

// NotEmptyError says that a directory that was to be restored has something in it.
type NotEmptyError struct{ Dir, Name string }

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("a backup is restored into an empty directory only, and %s has %s in it: move the directory away, or name another one. "+
		"Nothing was changed", e.Dir, e.Name)
}

// Restore restores the backup in a file into a data directory that is empty
// or does not exist, and whose blobs are. version is this host's. The directory is
// locked until Restore returns. After an error it holds its lock file alone, and so does a
// directory of blobs that lies elsewhere; after a crash the next call begins again, and no
// host opens it until then.
func Restore(ctx context.Context, d datadir.Dir, file, version string) (report *operation.RestoreReport, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	x, err := openReading(file, f)
	if err != nil {
		return nil, err
	}
	if x.Header.Format > format || x.Header.Schema > catalog.Schema() {
		return nil, &NewerError{Path: file, Header: x.Header, KnownFormat: format, KnownSchema: catalog.Schema(), KnownVersion: version}
	}
	held, err := d.LockData(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	made, err := makeBlobsDir(d)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	defer func() {
		if err != nil {
			removeEmpty(made)
		}
	}()
	if held, err = d.LockBlobs(held); err != nil {
		return nil, err
	}
	r := &restoring{dir: d, reading: x, report: &operation.RestoreReport{
		DataDir: d.Data, MadeAt: x.Header.MadeAt, Version: x.Header.Version, NotIncluded: NotIncluded,
	}}
	if err := r.do(ctx); err != nil {
		return nil, d.Explain(err)
	}
	return r.report, nil
}

// makeBlobsDir makes the directory of the blobs. It returns the directories in the data
// directory that it has made, or that a restore which was interrupted may have made, the
// innermost first.
func makeBlobsDir(d datadir.Dir) (made []string, err error) {
	unfinished, err := datadir.Unrestored(d)
	if err != nil {
		return nil, err
	}
	for dir := d.Blobs; !d.Apart() && dir != d.Data; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); unfinished || errors.Is(err, fs.ErrNotExist) {
			made = append(made, dir)
		}
	}
	return made, os.MkdirAll(d.Blobs, 0o700)
}

// removeEmpty removes directories, and leaves those that are not empty: the error of the
// restore says why.
func removeEmpty(dirs []string) {
	for _, dir := range dirs {
		_ = os.Remove(dir)
	}
}

// restoring is a backup that is being restored. The directories are locked.
type restoring struct {
	dir     datadir.Dir
	reading *reading
	report  *operation.RestoreReport
	made    []string // directories, to be synced
}

func (r *restoring) do(ctx context.Context) error {
	unfinished, err := datadir.Unrestored(r.dir)
	if err == nil && unfinished {
		err = r.clear()
	}
	if err != nil {
		return err
	}
	if err := r.checkEmpty(); err != nil {
		return err
	}
	if err := datadir.BeginRestore(r.dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	err = r.extract(ctx)
	if err == nil {
		err = r.look(ctx)
	}
	if err == nil {
		err = r.sync()
	}
	if err != nil {
		return errors.Join(err, r.clear(), datadir.EndRestore(r.dir))
	}
	crashpoint.Here("restore.written")
	return datadir.EndRestore(r.dir)
}

// parts are the names that a backup has in a data directory. Blobs may lie elsewhere.
var parts = []string{datadir.CatalogFile, datadir.QuarantineDir, datadir.CollectorDir}

// kept are names that an empty directory may have.
var kept = []string{datadir.LockFile, "lost+found"}

// checkEmpty returns a *NotEmptyError if a directory has something in it.
func (r *restoring) checkEmpty() error {
	for _, dir := range []string{r.dir.Data, r.dir.Blobs} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		for _, e := range entries {
			ours := e.Name() == datadir.RestoreFile || strings.HasPrefix(r.dir.Blobs+"/", filepath.Join(dir, e.Name())+"/")
			if !slices.Contains(kept, e.Name()) && !ours {
				return &NotEmptyError{Dir: dir, Name: e.Name()}
			}
		}
	}
	return nil
}

// clear removes everything that a restore has written.
func (r *restoring) clear() error {
	failed := catalog.Remove(r.dir.Path(datadir.CatalogFile))
	for _, name := range parts {
		failed = errors.Join(failed, os.RemoveAll(r.dir.Path(name)))
	}
	entries, err := os.ReadDir(r.dir.Blobs)
	failed = errors.Join(failed, ignoreMissing(err))
	for _, e := range entries {
		if !slices.Contains(kept, e.Name()) {
			failed = errors.Join(failed, os.RemoveAll(filepath.Join(r.dir.Blobs, e.Name())))
		}
	}
	return failed
}

// extract writes all files, and compares the checksum of the backup.
func (r *restoring) extract(ctx context.Context) error {
	found := false
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, size, contents, err := r.reading.next()
		if err != nil {
			return err
		}
		if name == "" {
			break
		}
		to, err := r.place(name)
		if err != nil {
			return err
		}
		crashpoint.Here("restore.file")
		if err := r.file(to, size, contents); err != nil {
			return err
		}
		found = found || name == datadir.CatalogFile
		r.report.Files++
		r.report.Bytes += size
	}
	if !found {
		return r.reading.damaged("it has no " + datadir.CatalogFile)
	}
	return nil
}

// place returns the path of an entry.
func (r *restoring) place(name string) (string, error) {
	if filepath.IsLocal(filepath.FromSlash(name)) && path.Clean(name) == name {
		if blob, ok := strings.CutPrefix(name, blobsDir); ok {
			return filepath.Join(r.dir.Blobs, filepath.FromSlash(blob)), nil
		}
		if first, _, _ := strings.Cut(name, "/"); slices.Contains(parts, first) {
			return r.dir.Path(filepath.FromSlash(name)), nil
		}
	}
	return "", r.reading.damaged(fmt.Sprintf("it has an entry %q, which belongs to no part of a data directory", name))
}

// file writes one file durably.
func (r *restoring) file(to string, size int64, contents io.Reader) error {
	if err := r.makeDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	f, err := private.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	n, err := io.Copy(f, contents)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && n < size:
		err = r.reading.damaged("it is cut off")
	case err == nil:
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("restore %s: %w", to, err)
	}
	return nil
}

// makeDir makes a directory and its parents, and remembers those to sync.
func (r *restoring) makeDir(dir string) error {
	if slices.Contains(r.made, dir) || dir == r.dir.Data {
		return nil
	}
	if dir != r.dir.Blobs {
		if err := r.makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	r.made = append(r.made, dir)
	return os.MkdirAll(dir, 0o700)
}

// look opens the restored catalog, brings it to the present schema, and checks it.
func (r *restoring) look(ctx context.Context) error {
	c, err := catalog.Open(ctx, r.dir.Path(datadir.CatalogFile), datadir.NewOwner())
	if err != nil {
		return err
	}
	err = c.Check(ctx)
	if err == nil {
		projects, failed := c.Projects(ctx)
		r.report.Projects, err = len(projects), failed
	}
	if err == nil {
		pipelines, failed := c.Pipelines(ctx)
		r.report.Pipelines, err = len(pipelines), failed
	}
	return errors.Join(err, c.Close())
}

// sync makes the names of all files durable.
func (r *restoring) sync() error {
	for _, dir := range append(r.made, r.dir.Blobs, r.dir.Data) {
		if err := durable.SyncDir(dir); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return nil
}
