package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock-io/penstock/host/internal/durable"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// lossFile lies in the directory of a collector's write-ahead log and lists
// entries that were found missing: one LogLoss a line. Operators remove it when
// they have read it.
const lossFile = "lost.ndjson"

func (d *logDir) lossPath() string {
	return filepath.Join(d.dir, lossFile)
}

// noteLoss keeps a loss durably, before the log is changed: afterwards nothing
// tells of it any more.
func (d *logDir) noteLoss(l wal.Loss) error {
	if err := noteLine(d, d.logLoss(l)); err != nil {
		return fmt.Errorf("note entries that are missing from the write-ahead log: %w", err)
	}
	d.o.Log.Error("records that were acknowledged are missing", "source", d.Name(), "reason", l.String(), "noted_in", d.lossPath())
	return nil
}

// noteLine adds a loss to the file of losses of a log, durably. A line that is half written, by
// a host that was killed or whose disk was full, is ended first.
func noteLine(d *logDir, loss operation.LogLoss) error {
	line, err := json.Marshal(loss)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.lossPath(), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	half, err := endsHalf(f)
	if half {
		line = append([]byte{'\n'}, line...)
	}
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	return errors.Join(err, f.Sync(), f.Close(), wal.Dir(d.dir).SyncDir())
}

// endsHalf reports whether the last line of a file has no end.
func endsHalf(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return last[0] != '\n', err
}

// keepDamaged keeps events that were compressed wrong, durably, in a file next to the log
// that is an entry of their own, and notes that they are lost to the journal. A file that is
// there was noted: a journal has failed since.
func keepDamaged(d *logDir, x rowlog.Damaged) (kept bool, err error) {
	path := damagedPath(d.dir, x)
	if _, err := os.Stat(path); err == nil {
		return false, wal.Dir(d.dir).SyncDir() // the host that made it was perhaps killed before it did
	}
	detail := fmt.Sprintf("%d events of project %s cannot be read: entry %d holds them compressed, and does not inflate to them (%v). Its request was acknowledged. They are kept in %s; please report it",
		len(x.Fragment.Entries), d.o.Projects.ByID(x.Project).Config.Name, x.Index, x.Err, path)
	err = noteLine(d, operation.LogLoss{Source: d.Name(), Time: d.o.Now().UTC(), First: x.Index, Last: x.Index, Detail: detail})
	if err != nil {
		return false, err
	}
	if err := writeWhole(path, x.Entry()); err != nil {
		return false, err
	}
	d.o.Log.Error("events that were acknowledged cannot be read", "source", d.Name(), "reason", detail, "noted_in", d.lossPath())
	return true, nil
}

// damagedPath is the file of events that were compressed wrong. Its name tells its content,
// since a log that was lost numbers its entries again.
func damagedPath(dir string, x rowlog.Damaged) string {
	return filepath.Join(dir, fmt.Sprintf("%020d-%d-%08x.damaged", x.Index, x.Number, crc32.ChecksumIEEE(x.Entry())))
}

// writeWhole makes a file durable that is there as a whole or not at all.
func writeWhole(path string, data []byte) error {
	part := path + ".part"
	f, err := private.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path)) // it would pass for one whose name is durable
	}
	return nil
}

func (d *logDir) logLoss(l wal.Loss) operation.LogLoss {
	loss := operation.LogLoss{Source: d.Name(), Time: d.o.Now().UTC(), First: l.First, Last: l.Last, Detail: l.String()}
	if l.Cut != "" {
		loss.Cut = filepath.Join(d.dir, l.Cut)
	}
	return loss
}

// notedLosses are the losses that were noted of a collector's log. A line that
// is half written, by a host that was killed, is passed over: that host has not
// changed the log, and the loss is found again.
func (d *logDir) notedLosses() ([]operation.LogLoss, error) {
	data, err := os.ReadFile(d.lossPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var losses []operation.LogLoss
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var l operation.LogLoss
		if json.Unmarshal(lines.Bytes(), &l) == nil {
			l.Noted = d.lossPath()
			losses = append(losses, l)
		}
	}
	return losses, nil
}

// lossesOf returns those that were noted of a collector's log and, unless this host
// has it open, the one that its next start will note.
func lossesOf(ctx context.Context, c *Collector) ([]operation.LogLoss, error) {
	losses, err := c.notedLosses()
	if err != nil || c.current() != nil {
		return losses, err
	}
	sealed, err := c.sealedEntries(ctx)
	if err != nil {
		return nil, err
	}
	missing, err := wal.Missing(wal.Dir(c.dir), sealed)
	switch {
	case err != nil: // the next start of a host fails for this reason
		losses = append(losses, operation.LogLoss{Source: c.Name(), Time: c.o.Now().UTC(), First: sealed + 1, Detail: err.Error()})
	case missing != nil:
		losses = append(losses, c.logLoss(*missing))
	}
	return losses, nil
}

// sealedEntries is the last entry of a collector's log that journals hold.
func (d *logDir) sealedEntries(ctx context.Context) (uint64, error) {
	ids, err := d.o.Catalog.ProjectIDs(ctx) // of all projects that were ever configured
	if err != nil {
		return 0, err
	}
	return rowlog.Sealed(ctx, d.o.Catalog, d.Name(), ids...)
}

// Verify reads every byte of the logs of collectors that this host does not have open,
// and adds missing and damaged entries to a report.
func (s *Set) Verify(ctx context.Context, report *operation.JournalReport) error {
	for _, c := range s.logs() {
		noted, err := c.notedLosses()
		if err != nil {
			return err
		}
		report.Lost = append(report.Lost, noted...)
		if c.current() != nil {
			continue
		}
		sealed, err := c.sealedEntries(ctx)
		if err != nil {
			return err
		}
		found, err := wal.Verify(wal.Dir(c.dir), sealed)
		var damaged *wal.DamagedError
		var behind *wal.BehindError
		switch {
		case errors.As(err, &damaged):
			report.Corruptions = append(report.Corruptions, operation.Corruption{
				Blob: filepath.Join(c.dir, damaged.File), Place: fmt.Sprintf("byte %d, entry %d", damaged.Offset, damaged.Index), Detail: damaged.Err.Error(),
			})
		case errors.As(err, &behind):
			report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: c.dir, Place: fmt.Sprintf("entry %d", behind.Last+1), Detail: behind.Error()})
		case err != nil:
			return fmt.Errorf("source %s: %w", c.Name(), err)
		}
		if found == nil {
			continue
		}
		err = rowlog.VerifyIn(c.dir, func(index uint64, err error) {
			report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: c.dir, Place: fmt.Sprintf("entry %d", index), Detail: err.Error()})
		})
		if err != nil {
			return fmt.Errorf("source %s: verify write-ahead log: %w", c.Name(), err)
		}
		report.Bytes += found.Bytes
		if found.Loss != nil {
			report.Lost = append(report.Lost, c.logLoss(*found.Loss))
		}
	}
	return nil
}

// lossError reports entries that a run found missing from a collector's log, or events
// that it could not read. The run goes on without them.
type lossError struct {
	source string
	loss   string
	noted  string // the file that says so
}

func (e *lossError) Error() string {
	return fmt.Sprintf("source %s: %s. The run went on without them; %s says so until you remove it", e.source, e.loss, e.noted)
}
