package journal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
)

// commitRecord is written to the store once a segment is visible, so that the
// catalog can be rebuilt.
type commitRecord struct {
	Version  int          `json:"version"`
	Project  int64        `json:"project"`
	Seq      int64        `json:"seq"`
	Blob     string       `json:"blob"`
	Size     int64        `json:"size"`
	SealedAt time.Time    `json:"sealed_at"`
	Cursors  []CursorMove `json:"cursors,omitempty"`
	Checksum uint32       `json:"checksum"` // CRC-32C of the record with 0 here
}

const recordVersion = 1

// recordedMove is a cursor's move in JSON: where it went, and not from where.
// JSON holds no string that is not UTF-8.
type recordedMove struct {
	Source   string `json:"source"`
	Position string `json:"position"`
	Bytes    []byte `json:"position_bytes,omitempty"` // of a position that is not UTF-8
	To       []byte `json:"to"`
}

// MarshalJSON implements json.Marshaler.
func (m CursorMove) MarshalJSON() ([]byte, error) {
	r := recordedMove{Source: m.Source, Position: strings.ToValidUTF8(m.Position, "\uFFFD"), To: m.To}
	if r.Position != m.Position {
		r.Bytes = []byte(m.Position)
	}
	return json.Marshal(r)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *CursorMove) UnmarshalJSON(data []byte) error {
	var r recordedMove
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	*m = CursorMove{Source: r.Source, Position: r.Position, To: r.To}
	if r.Bytes != nil {
		m.Position = string(r.Bytes)
	}
	return nil
}

// recordName is where a seal's commit record lies; names sort by sequence.
func recordName(project, seq int64) string {
	return fmt.Sprintf("commits/%d/%016d.json", project, seq)
}

// rangeName is where the commit record of a rewrite lies. It sorts right before the
// record of its last seal. The record never changes: a rewrite of the same seals has
// another revision.
func rangeName(project, from, to, revision int64) string {
	return fmt.Sprintf("commits/%d/%016d-%016d-%04d.json", project, to, from, revision)
}

// listedRecord is a commit record by its name.
type listedRecord struct {
	name     string
	from, to int64
	revision int64 // -1: of a seal
}

// parseRecord reads the name of a commit record.
func parseRecord(name string) (r listedRecord, err error) {
	r = listedRecord{name: name, revision: -1}
	parts := strings.Split(strings.TrimSuffix(path.Base(name), ".json"), "-")
	into := []*int64{&r.to, &r.from, &r.revision}
	for i, part := range parts {
		if i < len(into) && err == nil {
			*into[i], err = strconv.ParseInt(part, 10, 64)
		}
	}
	switch {
	case err == nil && len(parts) == 1:
		r.from = r.to
	case err != nil || len(parts) != 3 || r.from > r.to || r.revision < 0:
		return r, damagedRecord(name, "its name is not that of a record")
	}
	return r, nil
}

// currentRecords divides the records of a project, in the order of their seals, into
// those that count and those whose seals are in the record of a rewrite, which a crash
// has left behind.
func currentRecords(names []string) (current, covered []listedRecord, err error) {
	all := make([]listedRecord, 0, len(names))
	for _, name := range names {
		r, err := parseRecord(name)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b listedRecord) int {
		return cmp.Or(cmp.Compare(b.to, a.to), cmp.Compare(a.from, b.from), cmp.Compare(b.revision, a.revision))
	})
	next := int64(math.MaxInt64)
	for _, r := range all {
		if r.to >= next {
			covered = append(covered, r)
			continue
		}
		current = append(current, r)
		next = r.from
	}
	slices.Reverse(current)
	return current, covered, nil
}

// record writes a seal's commit record and confirms it.
func record(ctx context.Context, store disk.Store, catalog Catalog, seal Seal) error {
	r := commitRecord{
		Version: recordVersion, Project: seal.Project, Seq: seal.Seq, Blob: seal.Blob, Size: seal.Size,
		SealedAt: seal.SealedAt, Cursors: seal.Cursors,
	}
	data, err := r.checked().encode()
	if err != nil {
		return err
	}
	if err := writeRecord(ctx, store, recordName(seal.Project, seal.Seq), data); err != nil {
		return err
	}
	return catalog.MarkRecorded(ctx, seal.Project, seal.Seq)
}

func writeRecord(ctx context.Context, store disk.Store, name string, data []byte) error {
	w, err := store.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write commit record: %w", err), w.Abort())
	}
	return w.Commit()
}

// checkedRecord is a commit record of either kind, with the members that both have.
type checkedRecord struct {
	record   any // a pointer
	version  *int
	checksum *uint32
	known    int // the version that this host reads and writes
}

func (r *commitRecord) checked() checkedRecord {
	return checkedRecord{r, &r.Version, &r.Checksum, recordVersion}
}

// encode sets the checksum and returns the record as it is stored.
func (c checkedRecord) encode() ([]byte, error) {
	*c.checksum = 0
	plain, err := json.Marshal(c.record)
	if err != nil {
		return nil, fmt.Errorf("encode commit record: %w", err)
	}
	*c.checksum = checksum(plain)
	return json.Marshal(c.record)
}

// read fills in the record from the store and compares its checksum.
func (c checkedRecord) read(ctx context.Context, store disk.Store, name string) error {
	data, err := readAll(ctx, store, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, c.record); err != nil {
		return damagedRecord(name, "it is not JSON")
	}
	if *c.version != c.known {
		return damagedRecord(name, fmt.Sprintf("version %d, this host reads %d", *c.version, c.known))
	}
	again, err := c.encode()
	if err != nil || string(again) != string(data) {
		return damagedRecord(name, "its checksum is wrong")
	}
	return nil
}

// readRecord reads the commit record of a seal and compares its checksum.
func readRecord(ctx context.Context, store disk.Store, name string) (r commitRecord, err error) {
	err = r.checked().read(ctx, store, name)
	return r, err
}

func readAll(ctx context.Context, store disk.Store, name string) ([]byte, error) {
	f, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// rangeRecord is the commit record of a rewrite. It takes the place of those of its
// seals.
type rangeRecord struct {
	Version  int            `json:"version"`
	Project  int64          `json:"project"`
	From     int64          `json:"from"`
	To       int64          `json:"to"`
	Revision int64          `json:"revision"`
	Blob     string         `json:"blob"`
	Size     int64          `json:"size"`
	Keys     int64          `json:"keys"`
	Seals    []recordedSeal `json:"seals"`
	Cursors  []CursorMove   `json:"cursors,omitempty"`
	Checksum uint32         `json:"checksum"` // CRC-32C of the record with 0 here
}

// recordedSeal is a seal in the record of a rewrite. An extent is written as its kind,
// UTC date, zone date, rows, their bytes, bytes as stored, blocks, least and most time,
// and the index of its first block.
type recordedSeal struct {
	Seq      int64       `json:"seq"`
	Name     string      `json:"name"`
	Size     int64       `json:"size"`
	SealedAt time.Time   `json:"sealed_at"`
	Extents  [][10]int64 `json:"extents,omitempty"`
}

const rangeVersion = 2

func rangeRecordOf(r Rewrite) rangeRecord {
	out := rangeRecord{Version: rangeVersion, Project: r.Project, From: r.From, To: r.To, Revision: r.Revision, Blob: r.Blob, Size: r.Size, Keys: r.Keys, Cursors: r.Cursors}
	for _, s := range r.Seals {
		recorded := recordedSeal{Seq: s.Seq, Name: s.Name, Size: s.Size, SealedAt: s.SealedAt}
		for i, e := range s.Extents {
			recorded.Extents = append(recorded.Extents, [10]int64{
				int64(e.Kind), int64(e.UTCDate), int64(e.ZoneDate), e.Rows, e.RowsBytes, e.Bytes, e.Blocks, e.MinTime, e.MaxTime, s.First[i],
			})
		}
		out.Seals = append(out.Seals, recorded)
	}
	return out
}

// rewrite is the inverse of rangeRecordOf.
func (r rangeRecord) rewrite() Rewrite {
	out := Rewrite{Cursors: r.Cursors, File: File{Project: r.Project, From: r.From, To: r.To, Revision: r.Revision, Blob: r.Blob, Size: r.Size, Keys: r.Keys, Merged: true}}
	for _, recorded := range r.Seals {
		s := Segment{Project: r.Project, Seq: recorded.Seq, Name: recorded.Name, Blob: r.Blob, Size: recorded.Size, SealedAt: recorded.SealedAt, First: []int64{}}
		for _, v := range recorded.Extents {
			s.Extents = append(s.Extents, Extent{
				Partition: Partition{Kind: Kind(v[0]), UTCDate: Day(v[1]), ZoneDate: Day(v[2])},
				Rows:      v[3], RowsBytes: v[4], Bytes: v[5], Blocks: v[6], MinTime: v[7], MaxTime: v[8],
			})
			s.First = append(s.First, v[9])
		}
		out.Seals = append(out.Seals, s)
	}
	return out
}

func (r *rangeRecord) checked() checkedRecord {
	return checkedRecord{r, &r.Version, &r.Checksum, rangeVersion}
}

// readRange reads the commit record of a rewrite and compares its checksum.
func readRange(ctx context.Context, store disk.Store, name string) (r rangeRecord, err error) {
	err = r.checked().read(ctx, store, name)
	return r, err
}

// recordRewrite writes the commit record of a rewrite that the catalog has, confirms
// it, and removes the records and files that it replaces. They are removed last: until
// then the journal can be rebuilt from either.
func recordRewrite(ctx context.Context, store disk.Store, catalog Catalog, r Rewrite) error {
	name := rangeName(r.Project, r.From, r.To, r.Revision)
	if found, err := readRange(ctx, store, name); err != nil || found.Blob != r.Blob {
		if r.Cursors == nil {
			if r.Cursors, err = cursorsOf(ctx, store, r); err != nil {
				return err
			}
		}
		recorded := rangeRecordOf(r)
		data, err := recorded.checked().encode()
		if err != nil {
			return err
		}
		if err := writeRecord(ctx, store, name, data); err != nil {
			return err
		}
	}
	crashpoint.Here("rewrite.recorded")
	if err := catalog.ConfirmRewrite(ctx, r.Project, r.Blob); err != nil {
		return err
	}
	crashpoint.Here("rewrite.confirmed")
	for _, old := range r.Replaced {
		if err := store.Delete(ctx, old.record(r.Project)); err != nil {
			return err
		}
	}
	crashpoint.Here("rewrite.forgotten")
	for _, old := range r.Replaced {
		if err := store.Delete(ctx, old.Blob); err != nil {
			return err
		}
	}
	return nil
}

// record names the commit record of a file that was replaced.
func (r Replaced) record(project int64) string {
	if r.Merged {
		return rangeName(project, r.From, r.To, r.Revision)
	}
	return recordName(project, r.From)
}

// cursorsOf returns where the cursors were after the seals of a rewrite, as the
// records of the replaced files tell.
func cursorsOf(ctx context.Context, store disk.Store, r Rewrite) ([]CursorMove, error) {
	var moves []CursorMove
	at := map[[2]string]int{}
	for _, old := range r.Replaced {
		cursors, err := old.cursors(ctx, store, r.Project)
		if err != nil {
			return nil, err
		}
		for _, m := range cursors {
			k := [2]string{m.Source, m.Position}
			if i, ok := at[k]; ok {
				moves[i].To = m.To
				continue
			}
			at[k] = len(moves)
			moves = append(moves, m)
		}
	}
	return moves, nil
}

// cursors returns the cursors in the commit record of a file that was replaced.
func (r Replaced) cursors(ctx context.Context, store disk.Store, project int64) ([]CursorMove, error) {
	if r.Merged {
		record, err := readRange(ctx, store, r.record(project))
		return record.Cursors, err
	}
	record, err := readRecord(ctx, store, r.record(project))
	return record.Cursors, err
}
