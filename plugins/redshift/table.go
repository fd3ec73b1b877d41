package redshift

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// Parameters of the table of a replaced set. All others are the user's.
const (
	runKey      = "penstock.run"      // of the set that readers see
	fenceKey    = "penstock.fence"    // of the attempt that has switched to it
	attemptKey  = "penstock.attempt"  // the last one that has fenced or switched the table
	previousKey = "penstock.previous" // JSON: former locations, for queries that still read them
)

// emptyDir is the directory of a table that shows no set. No file is ever written
// there.
const emptyDir = "empty/"

// setState is the state of a replaced set in its table. Every write of it is
// conditional on the version of the table.
type setState struct {
	table *types.Table // nil: it does not exist

	holder   string // attempt that has fenced or switched the table last; empty: none
	dir      string // directory in the bucket of the set that readers see; empty: none
	run      string // parameters of that set
	fence    string
	previous []formerSet
}

// formerSet is a set that readers saw before.
type formerSet struct {
	Dir   string `json:"dir"`
	Until int64  `json:"until"` // unix seconds, from which on it may be removed
}

// expired returns the former sets that no reader needs.
func (s setState) expired(now time.Time) (dirs []string) {
	for _, f := range s.previous {
		if f.Until <= now.Unix() {
			dirs = append(dirs, f.Dir)
		}
	}
	return dirs
}

// keeps reports whether a directory is that of the current set or a former one.
func (s setState) keeps(dir string) bool {
	return dir == s.dir || slices.ContainsFunc(s.previous, func(f formerSet) bool { return f.Dir == dir })
}

// fenced returns the state after an attempt has fenced the table.
func (s setState) fenced(by lake.Attempt, now time.Time) setState {
	s.holder = by.String()
	s.previous = slices.DeleteFunc(slices.Clone(s.previous), func(f formerSet) bool { return f.Until <= now.Unix() })
	return s
}

// switched returns the state after an attempt has switched to its set. The set
// before it stays until then.
func (s setState) switched(by lake.Attempt, dir string, until time.Time) setState {
	if s.dir != "" {
		s.previous = append(slices.Clone(s.previous), formerSet{s.dir, until.Unix()})
	}
	s.holder, s.dir = by.String(), dir
	s.run, s.fence = strconv.FormatInt(by.Run, 10), strconv.FormatInt(by.Fence, 10)
	return s
}

// emptied returns the state after the current set was deleted.
func (s setState) emptied() setState {
	s.holder, s.dir, s.run, s.fence = "", "", "", ""
	return s
}

// readSet reads the table of a set, whose locations are below dir.
func (c *catalog) readSet(ctx context.Context, stream sdk.Stream, dir string) (setState, error) {
	t, err := c.table(ctx, stream)
	if err != nil || t == nil {
		return setState{}, err
	}
	if err := c.samePartitions(t, stream); err != nil {
		return setState{}, err
	}
	at := location(t.StorageDescriptor)
	s := setState{table: t, holder: t.Parameters[attemptKey], run: t.Parameters[runKey], fence: t.Parameters[fenceKey]}
	shown, ours := strings.CutPrefix(at, c.location(dir))
	switch {
	case at == "" || shown == emptyDir && ours:
	case !ours:
		return s, c.elsewhere(stream, at, dir)
	case isAttempt(shown):
		s.dir = dir + shown
	default:
		// The sets of attempts lie below this location: its readers would see them all.
		return s, sdk.Configuration(fmt.Errorf("table %s.%s has the files at %s, and sets lie in directories below %s", c.database, tables[stream], at, c.location(dir)),
			"Penstock did not give it this location: drop the table, and the next run creates it")
	}
	if text := t.Parameters[previousKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &s.previous); err != nil {
			return s, sdk.Permanent(fmt.Errorf("table %s.%s: its parameter %s is damaged: %w; remove it", c.database, tables[stream], previousKey, err))
		}
	}
	return s, nil
}

// isAttempt reports whether a path is the directory of one attempt.
func isAttempt(path string) bool {
	name, ok := strings.CutSuffix(path, "/")
	_, parsed := fenceIn(name)
	return ok && parsed
}

// fenceIn returns the fence of the attempt that a directory is named by.
func fenceIn(name string) (fence int64, ok bool) {
	run, rest, _ := strings.Cut(name, "-")
	digits, nonce, _ := strings.Cut(rest, "-")
	r, err := strconv.ParseInt(run, 16, 64)
	if err != nil {
		return 0, false
	}
	if fence, err = strconv.ParseInt(digits, 16, 64); err != nil {
		return 0, false
	}
	return fence, lake.Attempt{Run: r, Fence: fence, Nonce: nonce}.String() == name
}

// writeSet creates the table in a state, or updates it if it is at the version of
// that state. The error is the service's own, so that a conflict can be told.
func (c *catalog) writeSet(ctx context.Context, stream sdk.Stream, dir string, s setState) error {
	shown := dir + emptyDir
	if s.dir != "" {
		shown = s.dir
	}
	in := c.tableInput(s.table, stream, shown)
	set := func(key, value string) {
		if in.Parameters[key] = value; value == "" {
			delete(in.Parameters, key)
		}
	}
	set(attemptKey, s.holder)
	set(runKey, s.run)
	set(fenceKey, s.fence)
	set(previousKey, "")
	if len(s.previous) > 0 {
		text, err := json.Marshal(s.previous)
		if err != nil {
			return sdk.Permanent(err)
		}
		set(previousKey, string(text))
	}
	if s.table == nil {
		_, err := c.client.CreateTable(ctx, &glue.CreateTableInput{DatabaseName: &c.database, TableInput: in})
		return err
	}
	return c.update(ctx, s.table, in)
}

// changeSet reads the state of a set's table, calls change, and writes the state
// that it returns, until no other writer comes between. A nil state is not written.
func (c *catalog) changeSet(ctx context.Context, stream sdk.Stream, dir string, change func(setState) (*setState, error)) (setState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range conflictTries {
		now, err := c.readSet(ctx, stream, dir)
		if err != nil {
			return now, err
		}
		next, err := change(now)
		if err != nil || next == nil {
			return now, err
		}
		// After a conflict the next turn reads the table again: a retry of the client
		// turns its own success into one.
		err = c.writeSet(ctx, stream, dir, *next)
		if err == nil {
			return *next, nil
		}
		if !isConflict(err) {
			return now, classify(err)
		}
	}
	return setState{}, c.keepsChanging(stream)
}

// isConflict reports whether another writer was faster, or the call itself was
// repeated.
func isConflict(err error) bool {
	return isCode(err, "AlreadyExistsException", "ConcurrentModificationException")
}

func (c *catalog) keepsChanging(stream sdk.Stream) error {
	return sdk.Retryable(fmt.Errorf("table %s.%s keeps changing: other writers were faster in every attempt", c.database, tables[stream]), 0)
}

// samePartitions refuses a table with other partition keys, which cannot be changed.
func (c *catalog) samePartitions(t *types.Table, stream sdk.Stream) error {
	if sameColumns(t.PartitionKeys, partitionKeys(stream)) {
		return nil
	}
	return sdk.Configuration(fmt.Errorf("table %s.%s has other partition keys, which cannot be changed", c.database, tables[stream]),
		"it is not a table of Penstock's: set glue_database to a database of its own, or drop the table")
}

// elsewhere refuses a table that has its files in another place.
func (c *catalog) elsewhere(stream sdk.Stream, at, dir string) error {
	return sdk.Configuration(fmt.Errorf("table %s.%s has the files at %s, and this destination writes to %s", c.database, tables[stream], at, c.location(dir)),
		"one database holds the tables of one place and project: set glue_database to a database of its own, or drop the table to point it here")
}

// tableInput returns the input of a table that shows a directory. Parameters,
// descriptions and comments that users have set in the table before stay; nil: there
// is none.
func (c *catalog) tableInput(t *types.Table, stream sdk.Stream, dir string) *types.TableInput {
	in := &types.TableInput{
		Name: aws.String(tables[stream]), TableType: aws.String(externalTable),
		Parameters: map[string]string{"EXTERNAL": "TRUE"}, PartitionKeys: partitionKeys(stream), StorageDescriptor: c.storage(stream, c.location(dir)),
	}
	if t != nil {
		in.Description, in.Owner, in.Retention = t.Description, t.Owner, t.Retention
		in.LastAccessTime, in.LastAnalyzedTime, in.PartitionKeys = t.LastAccessTime, t.LastAnalyzedTime, t.PartitionKeys
		in.ViewOriginalText, in.ViewExpandedText = t.ViewOriginalText, t.ViewExpandedText
		if in.Parameters = maps.Clone(t.Parameters); in.Parameters == nil {
			in.Parameters = make(map[string]string)
		}
		keepComments(in.StorageDescriptor, t.StorageDescriptor)
	}
	in.Parameters["classification"] = c.classification()
	return in
}

// update writes a table under its version. No version is archived: a table has room
// for 100,000.
func (c *catalog) update(ctx context.Context, t *types.Table, in *types.TableInput) error {
	if aws.ToString(t.VersionId) == "" {
		return sdk.Permanent(fmt.Errorf("table %s.%s has no version: without one an older attempt could switch it back", c.database, aws.ToString(in.Name)))
	}
	_, err := c.client.UpdateTable(ctx, &glue.UpdateTableInput{
		DatabaseName: &c.database, TableInput: in, VersionId: t.VersionId, SkipArchive: aws.Bool(true),
	})
	return err
}
