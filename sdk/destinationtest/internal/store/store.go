package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Refused in a row has the store reject it.
const Refused = `"refuse":true`

// Store is a destination in a directory.
type Store struct {
	Dir       string
	ProjectID int64
	Lie       string

	writing sync.Mutex // held by a lie
}

var _ interface {
	sdk.Destination
	sdk.Opener
	sdk.Preparer
	sdk.Aborter
	sdk.Checker
	sdk.Inventorier
} = (*Store)(nil)

// lies reports whether the store tells this lie.
func (s *Store) lies(lie string) bool { return s.Lie == lie }

func (s *Store) base(stream sdk.Stream) string {
	if s.lies("one_project") {
		return filepath.Join(s.Dir, "2195193", stream.String())
	}
	return filepath.Join(s.Dir, strconv.FormatInt(s.ProjectID, 10), stream.String())
}

func runDir(base, id string, number int64) string {
	return filepath.Join(base, "data", id, fmt.Sprintf("run-%08d", number))
}

func (s *Store) runDir(run sdk.Run) string {
	dir := runDir(s.base(run.Stream), run.PipelineID, run.Number)
	if s.lies("names_after_fence") {
		dir += fmt.Sprintf("-%d", run.Fence)
	}
	return dir
}

// Targets implements sdk.Destination.
func (s *Store) Targets() []sdk.Target {
	var targets []sdk.Target
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People, sdk.Identity} {
		uri := "store:" + s.base(stream)
		if s.lies("targets_change") {
			uri += fmt.Sprintf("#%p", s)
		}
		if s.lies("targets_are_the_same") {
			uri = "store:"
		}
		targets = append(targets, sdk.Target{Stream: stream, URI: uri})
	}
	return targets
}

// Open implements sdk.Opener.
func (s *Store) Open(_ context.Context, run sdk.Run) (sdk.LastRun, error) {
	if run.Repair != nil {
		return s.openRepair(run)
	}
	l, err := edit(s.base(run.Stream), func(l *ledger) error {
		if s.overtaken(l, run) && !s.lies("ignores_fence_in_open") {
			return fenced(l, run)
		}
		for id := range l.Last {
			if id != run.PipelineID && !run.Adopt && !s.lies("takes_others_target") {
				return sdk.Configuration(fmt.Errorf("pipeline %s holds the target", id), "set adopt")
			}
		}
		if !s.lies("records_no_fence") {
			l.Fences[run.PipelineID], l.Contents[run.PipelineID] = run.Fence, run.Content
		}
		if s.lies("adopt_forgets_rows") && run.Adopt {
			l.Runs = nil
		}
		if s.lies("hole_in_replace") && run.Mode == sdk.Replace {
			l.Runs = nil
		}
		return nil
	})
	if err != nil || s.lies("forgets_last_run") {
		return sdk.LastRun{}, err
	}
	return l.Last[run.PipelineID], nil
}

// overtaken reports whether a newer fence, or the same one with another
// content, holds the pipeline.
func (s *Store) overtaken(l *ledger, run sdk.Run) bool {
	fence, content := l.Fences[run.PipelineID], l.Contents[run.PipelineID]
	return fence > run.Fence || fence == run.Fence && content != run.Content && !s.lies("compares_numbers_only")
}

func fenced(l *ledger, run sdk.Run) error {
	return sdk.Fenced(fmt.Errorf("fence %d is older than %d", run.Fence, l.Fences[run.PipelineID]))
}

// Write implements sdk.Destination.
func (s *Store) Write(_ context.Context, run sdk.Run, p sdk.Partition, r *batch.Reader) (sdk.PartitionReceipt, error) {
	if s.lies("status_waits") {
		s.writing.Lock()
		defer s.writing.Unlock()
	}
	if run.Repair != nil {
		return s.writeRepair(run, p, r)
	}
	receipt := sdk.PartitionReceipt{}
	var data []byte
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return receipt, err
		}
		if data, err = s.take(data, b, r, &receipt); err != nil {
			return receipt, err
		}
		if s.lies("appends_each_batch") {
			if err := s.write(run, p, os.O_APPEND, data, &receipt); err != nil {
				return receipt, err
			}
			data = data[:0]
		}
	}
	if s.lies("appends_each_batch") || s.lies("appends_on_retry") {
		return receipt, s.write(run, p, os.O_APPEND, data, &receipt)
	}
	return receipt, s.write(run, p, os.O_TRUNC, data, &receipt)
}

// write puts a partition, or some of it, into its file.
func (s *Store) write(run sdk.Run, p sdk.Partition, mode int, data []byte, receipt *sdk.PartitionReceipt) error {
	date := p.Date
	if s.lies("one_day_for_all") {
		date = "2026-06-01"
	}
	index := p.Index
	if s.lies("one_file_for_a_date") {
		index = 0
	}
	name := filepath.Join(s.runDir(run), fmt.Sprintf("%04d-%s.ndjson", index, date))
	receipt.Objects = []string{filepath.Base(name)}
	receipt.StoredBytes += uint64(len(data))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|mode, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(s.harm(data, run))
	return errors.Join(err, f.Sync(), f.Close())
}

// take appends the rows of a batch that the store does not refuse.
func (s *Store) take(data []byte, b *batch.Batch, r *batch.Reader, receipt *sdk.PartitionReceipt) ([]byte, error) {
	row := b.First
	for line, err := range b.Lines() {
		if err != nil {
			return nil, err
		}
		switch {
		case !bytes.Contains(line, []byte(Refused)):
			data = append(append(data, line...), '\n')
			receipt.Rows++
		case s.lies("swallows_refused_rows"):
			receipt.Rows++
		case s.lies("rejects_the_wrong_row"):
			if err := r.Reject(0, "refused", line); err != nil {
				return nil, err
			}
		default:
			if err := r.Reject(row, "refused", line); err != nil {
				return nil, err
			}
		}
		row++
	}
	return data, nil
}

// harm changes the rows of a partition as the store's lie demands.
func (s *Store) harm(data []byte, run sdk.Run) []byte {
	lines := strings.SplitAfter(string(data), "\n")
	lines = lines[:len(lines)-1]
	switch {
	case s.lies("loses_last_row") && len(lines) > 1:
		lines = lines[:len(lines)-1]
	case s.lies("loses_one_row_runs") && len(lines) == 1:
		lines = nil
	case s.lies("drops_unicode"):
		return bytes.Map(func(r rune) rune {
			if r > 127 {
				return '?'
			}
			return r
		}, data)
	case s.lies("unescapes"):
		return bytes.ReplaceAll(data, []byte(`\/`), []byte(`/`))
	case s.lies("truncates_long_rows"):
		for i, line := range lines {
			if len(line) > 256<<10 {
				lines[i] = line[:256<<10] + "\n"
			}
		}
	case s.lies("bytes_change"):
		// The same rows, in an order that depends on the attempt.
		if n := len(lines); n > 1 && run.Fence%2 == 1 {
			lines[0], lines[n-1] = lines[n-1], lines[0]
		}
	}
	return []byte(strings.Join(lines, ""))
}

// Prepare implements sdk.Preparer.
func (s *Store) Prepare(_ context.Context, run sdk.Run, receipt sdk.Receipt) error {
	if run.Repair != nil {
		return nil
	}
	if s.lies("commits_in_prepare") {
		return s.commit(run, receipt)
	}
	return nil
}

// Commit implements sdk.Destination.
func (s *Store) Commit(_ context.Context, run sdk.Run, receipt sdk.Receipt) error {
	if run.Repair != nil {
		return s.commitRepair(run)
	}
	if s.lies("never_commits") || s.lies("loses_empty_runs") && len(receipt.Partitions) == 0 {
		return nil
	}
	if s.lies("commits_in_memory") {
		inMemory = run.Last()
		return nil
	}
	return s.commit(run, receipt)
}

// inMemory is the run that a lie has committed.
var inMemory sdk.LastRun

func (s *Store) commit(run sdk.Run, receipt sdk.Receipt) error {
	_, err := edit(s.base(run.Stream), func(l *ledger) error {
		last := l.Last[run.PipelineID]
		if s.lies("compares_numbers_only") && last.Number == run.Number {
			return nil
		}
		if s.overtaken(l, run) && !s.lies("ignores_fence_in_commit") {
			return fenced(l, run)
		}
		if done, err := last.Holds(run); done || err != nil {
			return err
		}
		l.Last[run.PipelineID] = run.Last()
		l.Runs = append(l.Runs, committedRun{
			PipelineID: run.PipelineID, Number: run.Number, Content: run.Content, Receipt: receipt, Sums: s.sums(run, receipt),
			Replaces: run.Mode == sdk.Replace && !s.lies("replace_adds"),
		})
		return nil
	})
	return err
}

// Abort implements sdk.Aborter.
func (s *Store) Abort(_ context.Context, run sdk.Run, discard bool) error {
	if run.Repair != nil {
		return os.RemoveAll(s.aside(run))
	}
	if s.lies("abort_commits") {
		return s.commit(run, sdk.Receipt{})
	}
	if !discard || s.lies("discards_nothing") {
		return nil
	}
	return os.RemoveAll(s.runDir(run))
}

// Status implements sdk.Destination.
func (s *Store) Status(_ context.Context, run sdk.Run) (sdk.Status, error) {
	if s.lies("status_waits") {
		s.writing.Lock()
		defer s.writing.Unlock()
	}
	l, err := edit(s.base(run.Stream), nil)
	if err != nil {
		return sdk.Status{}, err
	}
	status := sdk.Status{State: sdk.Absent, Last: l.Last[run.PipelineID], Fence: l.Fences[run.PipelineID]}
	if s.lies("commits_in_memory") && inMemory.Number > 0 {
		status.Last = inMemory
	}
	switch {
	case s.lies("everything_is_committed"):
		status.State = sdk.Committed
	case s.lies("nothing_is_committed"):
		return status, nil
	case s.lies("always_in_doubt"):
		status.State = sdk.InDoubt
	case status.Last.Number >= run.Number:
		status.State = sdk.Committed
		if c := l.find(run.PipelineID, run.Number); c != nil {
			status.Receipt, status.Content = &c.Receipt, c.Content
		}
	}
	if s.lies("forgets_content") {
		status.Content, status.Last.Content = "", ""
	}
	return status, nil
}

// Check implements sdk.Checker.
func (s *Store) Check(context.Context) []sdk.CheckResult {
	name := filepath.Join(runDir(s.base(sdk.Events), "check", 0), "check.ndjson")
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = os.WriteFile(name, nil, 0o600)
	}
	if err == nil && !s.lies("check_leaves_a_file") {
		err = os.Remove(name)
	}
	if s.lies("check_fails") {
		err = errors.New("permission denied")
	}
	if err != nil {
		return []sdk.CheckResult{{Action: "write", Detail: err.Error()}}
	}
	return []sdk.CheckResult{{Action: "write", OK: true}}
}
