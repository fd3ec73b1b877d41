package backup

import (
	"bufio"
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
	"sync"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/durable"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Options are the parts of an open data directory. All are required.
type Options struct {
	Dir     datadir.Dir
	Store   disk.Store
	Catalog *catalog.Catalog
	// HoldRecords keeps refused records from being added and removed until release is
	// called.
	HoldRecords func() (release func())
	// HoldLogs keeps the front of write-ahead logs from being dropped until release is
	// called.
	HoldLogs func(context.Context) (release func(), err error)
	Version  string // of this host
	Now      func() time.Time
}

// NotIncluded names the parts of an installation that no backup holds.
var NotIncluded = []string{
	"the configuration, and the files that it names (secrets, certificates, places of addresses)",
	"plugins and plugins.lock: install and trust them again (penstock plugins)",
	"indexes of identity links: a host makes them again out of the journal",
	"unfinished downloads and the request budgets of sources that pull",
}

// ErrExists says that a backup was not written because its file is there already.
var ErrExists = errors.New("it exists already: name a new file, or a directory")

// blobsDir begins the names of blobs in a backup.
const blobsDir = "blobs/"

// Suffixes of files next to a backup that is being written.
const (
	partialSuffix  = ".partial"
	snapshotSuffix = ".catalog" + partialSuffix
)

// Write writes a backup to a new file at path, or to a file named by the time if path
// is a directory. The file has its name once it is whole and durable. path is absolute.
// The data directory may be in use by this process; two calls of Write do not run at
// the same time.
func Write(ctx context.Context, o Options, path string) (*operation.BackupReport, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "penstock-"+o.Now().UTC().Format("20060102T150405Z")+".tar")
	}
	w := &writing{o: &o, path: path, copied: map[string]bool{}, report: &operation.BackupReport{
		Path: path, MadeAt: o.Now().UTC(), Parts: []operation.BackupPart{}, NotIncluded: NotIncluded,
	}}
	if err := w.do(ctx); err != nil {
		return nil, fmt.Errorf("write backup %s: %w", path, explain(filepath.Dir(path), err))
	}
	return w.report, nil
}

// explain adds to the error of a full disk which one it is.
func explain(dir string, err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) && !errors.Is(err, syscall.EFBIG) && !catalog.DiskFailed(err) {
		return err
	}
	return fmt.Errorf("%w. Nothing was left in %s; make room there, or name another place", err, dir)
}

// writing is a backup that is being written.
type writing struct {
	o       *Options
	path    string
	archive *archive
	copied  map[string]bool // blobs that are in the archive
	missing map[string]bool // blobs that the last snapshot named and that were not there
	report  *operation.BackupReport
}

func (w *writing) do(ctx context.Context) (err error) {
	if _, err := os.Lstat(w.path); err == nil {
		return ErrExists
	}
	partial := w.path + partialSuffix
	f, err := private.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(partial)))
		}
		err = errors.Join(err, catalog.Remove(w.path+snapshotSuffix))
	}()
	buffer := bufio.NewWriterSize(f, 1<<20)
	w.archive = newArchive(buffer, w.report.MadeAt)
	err = w.contents(ctx)
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	info, err := os.Stat(partial)
	if err != nil {
		return err
	}
	w.report.Bytes = info.Size()
	crashpoint.Here("backup.written")
	if err := os.Rename(partial, w.path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(w.path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// contents writes all entries. Blobs are copied first, while all work continues. Then
// refused records and the fronts of logs are held, so that one state of the catalog is
// copied with the files that belong to it.
func (w *writing) contents(ctx context.Context) error {
	id, err := w.o.Catalog.ID(ctx)
	if err != nil {
		return err
	}
	header := Header{Format: format, Version: w.o.Version, Schema: catalog.Schema(), Catalog: id, MadeAt: w.report.MadeAt}
	if err := w.archive.addJSON(headerEntry, header); err != nil {
		return err
	}
	for _, step := range []func(context.Context) (bool, error){w.copyBlobs, w.copyState} {
		for whole := false; !whole; {
			if whole, err = step(ctx); err != nil {
				return err
			}
		}
	}
	return w.archive.finish()
}

// copyBlobs takes a snapshot of the catalog and copies the blobs that it names. It
// reports whether all were there: one that was removed after the snapshot, because
// a newer blob replaces it, is not in the next one.
func (w *writing) copyBlobs(ctx context.Context) (whole bool, err error) {
	snapshot := w.path + snapshotSuffix
	if err := w.o.Catalog.Snapshot(ctx, snapshot); err != nil {
		return false, err
	}
	c, err := catalog.LookShared(ctx, snapshot)
	if err != nil {
		return false, err
	}
	names, err := blobs(ctx, c, w.o.Store)
	if err = errors.Join(err, c.Close()); err != nil {
		return false, err
	}
	missing := map[string]bool{}
	for _, name := range names {
		if w.copied[name] {
			continue
		}
		err := w.copyBlob(ctx, name)
		if errors.Is(err, fs.ErrNotExist) && !w.missing[name] {
			missing[name] = true
			continue
		}
		if err != nil {
			return false, err
		}
		w.copied[name] = true
	}
	w.missing = missing
	return len(missing) == 0, nil
}

// copyBlob copies one blob.
func (w *writing) copyBlob(ctx context.Context, name string) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r, err := w.o.Store.Open(ctx, name)
	if err != nil {
		return fmt.Errorf("the journal's file %s: %w (penstock journal verify lists damage)", name, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	crashpoint.Here("backup.blob")
	return w.add("blobs", blobsDir+name, r.Size(), io.NewSectionReader(r, 0, r.Size()))
}

// add writes an entry and counts it in a part of the report.
func (w *writing) add(part, name string, size int64, r io.Reader) error {
	i := slices.IndexFunc(w.report.Parts, func(p operation.BackupPart) bool { return p.Name == part })
	if i < 0 {
		i = len(w.report.Parts)
		w.report.Parts = append(w.report.Parts, operation.BackupPart{Name: part})
	}
	w.report.Parts[i].Files++
	w.report.Parts[i].Bytes += size
	return w.archive.add(name, size, r)
}

// copyState copies the rest of the blobs, refused records, logs and the catalog, as of
// one time. It reports whether all blobs were there.
func (w *writing) copyState(ctx context.Context) (whole bool, err error) {
	releaseLogs, err := w.o.HoldLogs(ctx)
	if err != nil {
		return false, err
	}
	defer releaseLogs()
	releaseRecords := sync.OnceFunc(w.o.HoldRecords())
	defer releaseRecords()
	if whole, err := w.copyBlobs(ctx); err != nil || !whole {
		return false, err
	}
	if err := w.copyTree(ctx, datadir.QuarantineDir, ""); err != nil {
		return false, err
	}
	releaseRecords()
	if err := w.copyTree(ctx, datadir.CollectorDir, wal.MarkName); err != nil {
		return false, err
	}
	return true, w.copyFile(ctx, "catalog", datadir.CatalogFile, w.path+snapshotSuffix)
}

// copyTree copies the directories below a name of the data directory, and their files.
// The file named first is copied before the others are listed.
func (w *writing) copyTree(ctx context.Context, name, first string) error {
	dirs, err := os.ReadDir(w.o.Dir.Path(name))
	if err != nil {
		return ignoreMissing(err)
	}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		if first != "" {
			err := w.copyFile(ctx, name, path.Join(name, d.Name(), first), w.o.Dir.Path(name, d.Name(), first))
			if ignoreMissing(err) != nil {
				return err
			}
		}
		files, err := os.ReadDir(w.o.Dir.Path(name, d.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			// Files whose names begin with a point are not complete.
			if !f.Type().IsRegular() || f.Name() == first || strings.HasPrefix(f.Name(), ".") {
				continue
			}
			if err := w.copyFile(ctx, name, path.Join(name, d.Name(), f.Name()), w.o.Dir.Path(name, d.Name(), f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyFile copies the bytes that a file has now: it may grow.
func (w *writing) copyFile(ctx context.Context, part, name, from string) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := private.OpenFile(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.add(part, name, info.Size(), f)
}

// blobs lists the blobs that a catalog names, and the commit records of its seals.
func blobs(ctx context.Context, c *catalog.Catalog, store disk.Store) ([]string, error) {
	projects, err := c.Projects(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range projects {
		of, err := blobsOf(ctx, c, store, p.ID)
		if err != nil {
			return nil, err
		}
		names = append(names, of...)
	}
	return names, nil
}

// blobsOf lists the blobs of one project.
func blobsOf(ctx context.Context, c *catalog.Catalog, store disk.Store, project int64) ([]string, error) {
	names, err := journal.Named(ctx, c, store, project)
	if err != nil {
		return nil, err
	}
	for _, stream := range []batch.Stream{batch.People, batch.Identity} {
		used, err := c.Generations(ctx, project, stream)
		if err != nil {
			return nil, err
		}
		files, err := generation.New(store, project, stream).Files(ctx, used)
		if err != nil {
			return nil, err
		}
		names = append(names, files...)
	}
	return names, nil
}
