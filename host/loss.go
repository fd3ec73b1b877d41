package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// lossFile lies in the directory of a collector's write-ahead log and lists
// entries that were found missing: one LogLoss a line. Operators remove it when
// they have read it.
const lossFile = "lost.ndjson"

func (h *Host) lossPath(c *config.Collector) string {
	return filepath.Join(h.collectorPath(c), lossFile)
}

// noteLoss keeps a loss durably, before the log is changed: afterwards nothing
// tells of it any more.
func (h *Host) noteLoss(c *config.Collector, l wal.Loss) error {
	line, err := json.Marshal(h.logLoss(c, l))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(h.lossPath(c), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	err = errors.Join(err, f.Sync(), f.Close(), wal.Dir(h.collectorPath(c)).SyncDir())
	if err != nil {
		return fmt.Errorf("note entries that are missing from the write-ahead log: %w", err)
	}
	h.log.Error("records that were acknowledged are missing", "source", c.Reference(), "reason", l.String(), "noted_in", h.lossPath(c))
	return nil
}

func (h *Host) logLoss(c *config.Collector, l wal.Loss) operation.LogLoss {
	loss := operation.LogLoss{Source: c.Reference(), Time: time.Now().UTC(), First: l.First, Last: l.Last, Detail: l.String()}
	if l.Cut != "" {
		loss.Cut = filepath.Join(h.collectorPath(c), l.Cut)
	}
	return loss
}

// notedLosses are the losses that were noted of a collector's log. A line that
// is half written, by a host that was killed, is passed over: that host has not
// changed the log, and the loss is found again.
func (h *Host) notedLosses(c *config.Collector) ([]operation.LogLoss, error) {
	data, err := os.ReadFile(h.lossPath(c))
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
			l.Noted = h.lossPath(c)
			losses = append(losses, l)
		}
	}
	return losses, nil
}

// losses are those that were noted of a collector's log and, unless this host
// has it open, the one that its next start will note.
func (h *Host) losses(ctx context.Context, c *config.Collector) ([]operation.LogLoss, error) {
	losses, err := h.notedLosses(c)
	if err != nil || h.isOpen(c) {
		return losses, err
	}
	sealed, err := h.sealedEntries(ctx, c)
	if err != nil {
		return nil, err
	}
	missing, err := wal.Missing(wal.Dir(h.collectorPath(c)), sealed)
	switch {
	case err != nil: // the next start of a host fails for this reason
		losses = append(losses, operation.LogLoss{Source: c.Reference(), Time: time.Now().UTC(), First: sealed + 1, Detail: err.Error()})
	case missing != nil:
		losses = append(losses, h.logLoss(c, *missing))
	}
	return losses, nil
}

// isOpen reports whether this host has a collector's log open.
func (h *Host) isOpen(c *config.Collector) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.collectors {
		if l.config == c {
			return true
		}
	}
	return false
}

// sealedEntries is the last entry of a collector's log that journals hold.
func (h *Host) sealedEntries(ctx context.Context, c *config.Collector) (uint64, error) {
	var ids []int64
	for _, p := range h.config.Projects {
		ids = append(ids, p.ID)
	}
	return rowlog.Sealed(ctx, h.catalog, c.Reference(), ids...)
}

// verifyLogs reads every byte of the logs of collectors that this host does not
// have open, and adds missing and damaged entries to a report.
func (h *Host) verifyLogs(ctx context.Context, report *operation.JournalReport) error {
	for _, c := range h.config.Collectors {
		noted, err := h.notedLosses(c)
		if err != nil {
			return err
		}
		report.Lost = append(report.Lost, noted...)
		if h.isOpen(c) {
			continue
		}
		sealed, err := h.sealedEntries(ctx, c)
		if err != nil {
			return err
		}
		found, err := wal.Verify(wal.Dir(h.collectorPath(c)), sealed)
		var damaged *wal.DamagedError
		var behind *wal.BehindError
		switch {
		case errors.As(err, &damaged):
			report.Corruptions = append(report.Corruptions, operation.Corruption{
				Blob: filepath.Join(h.collectorPath(c), damaged.File), Place: fmt.Sprintf("byte %d, entry %d", damaged.Offset, damaged.Index), Detail: damaged.Err.Error(),
			})
		case errors.As(err, &behind):
			report.Corruptions = append(report.Corruptions, operation.Corruption{Blob: h.collectorPath(c), Place: fmt.Sprintf("entry %d", behind.Last+1), Detail: behind.Error()})
		case err != nil:
			return fmt.Errorf("source %s: %w", c.Reference(), err)
		}
		if found == nil {
			continue
		}
		report.Bytes += found.Bytes
		if found.Loss != nil {
			report.Lost = append(report.Lost, h.logLoss(c, *found.Loss))
		}
	}
	return nil
}

// lossError reports entries that a run found missing from a collector's log. The
// run goes on without them.
type lossError struct {
	source string
	loss   wal.Loss
	noted  string // the file that says so
}

func (e *lossError) Error() string {
	return fmt.Sprintf("source %s: %s. The run went on without them; %s says so until you remove it", e.source, e.loss, e.noted)
}
