package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

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

// record writes a seal's commit record and confirms it.
func record(ctx context.Context, store disk.Store, catalog Catalog, seal Seal) error {
	r := commitRecord{
		Version: recordVersion, Project: seal.Project, Seq: seal.Seq, Blob: seal.Blob, Size: seal.Size,
		SealedAt: seal.SealedAt, Cursors: seal.Cursors,
	}
	data, err := r.encode()
	if err != nil {
		return err
	}
	w, err := store.Create(ctx, recordName(seal.Project, seal.Seq))
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write commit record: %w", err), w.Abort())
	}
	if err := w.Commit(); err != nil {
		return err
	}
	return catalog.MarkRecorded(ctx, seal.Project, seal.Seq)
}

func (r commitRecord) encode() ([]byte, error) {
	r.Checksum = 0
	plain, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode commit record: %w", err)
	}
	r.Checksum = checksum(plain)
	return json.Marshal(r)
}

// readRecord reads a commit record and compares its checksum.
func readRecord(ctx context.Context, store disk.Store, name string) (commitRecord, error) {
	var r commitRecord
	f, err := store.Open(ctx, name)
	if err != nil {
		return r, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return r, fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, damagedRecord(name, "it is not JSON")
	}
	if r.Version != recordVersion {
		return r, damagedRecord(name, fmt.Sprintf("version %d, this host reads %d", r.Version, recordVersion))
	}
	again, err := r.encode()
	if err != nil || string(again) != string(data) {
		return r, damagedRecord(name, "its checksum is wrong")
	}
	return r, nil
}
