package lake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// The format names and the version of manifests and receipts. A manifest with a
// higher version is refused; new members do not change the version.
const (
	manifestFormat  = "penstock-manifest"
	receiptFormat   = "penstock-receipt"
	manifestVersion = 1
	// manifestLimit is the largest manifest that is read, in bytes: about 300,000
	// days.
	manifestLimit = 64 << 20
)

// Manifest is the record of the runs that a pipeline has committed to a target.
// Writing it is the commit: objects that it does not name or count are not
// committed. docs/manifest.md describes each member for readers.
type Manifest struct {
	Format     string `json:"format"`
	Version    int    `json:"version"`
	ProjectID  int64  `json:"project_id"`
	Pipeline   string `json:"pipeline"`
	PipelineID string `json:"pipeline_id"`
	Stream     string `json:"stream"`
	Fence      int64  `json:"fence"`
	// Attempt identifies the attempt that wrote the manifest, so that two attempts
	// never write the same bytes.
	Attempt      string `json:"attempt,omitempty"`
	Run          int64  `json:"last_committed_run"`
	CompleteAsOf string `json:"complete_as_of,omitempty"`
	// Days by UTC date; events only.
	Days map[string]Day `json:"days,omitempty"`
	// Files are the objects of the current set; people and identity only.
	Files []File `json:"files,omitempty"`
	// ObjectFormat is the format of the pipeline's objects; empty: json.
	ObjectFormat string `json:"object_format,omitempty"`
	// Layout of a replaced set: one object or parts.
	Layout string `json:"layout,omitempty"`
	// Receipt of the last committed run.
	Receipt *RunReceipt `json:"receipt,omitempty"`
	// Unfinished are runs that were opened and are not committed. Some of their
	// objects may exist.
	Unfinished []int64 `json:"unfinished_runs,omitempty"`
	// Void are runs below the last committed one that were opened and never
	// committed. They can no longer commit, but a zombie may finish one of their
	// objects; readers ignore such objects.
	Void []int64 `json:"void_runs,omitempty"`
	// Prepared is the receipt of a replaced set that was sealed and not yet
	// committed.
	Prepared *RunReceipt `json:"prepared,omitempty"`
	// Adopted are the ids of the pipelines whose target this one has taken over.
	Adopted []string `json:"adopted,omitempty"`
	// AdoptedBy is the id of the pipeline that has taken over this one's target.
	// Empty: the pipeline may write.
	AdoptedBy string `json:"adopted_by,omitempty"`
}

// Layouts of a replaced set.
const (
	oneObject = "object"
	inParts   = "parts"
)

// Day holds the totals that a pipeline has committed of one UTC day.
type Day struct {
	Rows         uint64 `json:"rows"`
	RowsBytes    uint64 `json:"rows_bytes"`
	StoredBytes  uint64 `json:"stored_bytes"`
	Files        uint64 `json:"files"`
	CompleteAsOf string `json:"complete_as_of,omitempty"`
	Run          int64  `json:"last_run"`
}

// File describes one stored object: its name, its rows before compression, its
// size and its checksums. The size and checksum of the rows are 0 if they are not
// known: some row of the partition was changed or rejected, or cannot be rendered
// again byte for byte from the object's columns.
type File struct {
	Name        string `json:"name"`
	Rows        uint64 `json:"rows"`
	RowsBytes   uint64 `json:"rows_bytes"`
	RowsCRC32   uint32 `json:"rows_crc32"`
	StoredBytes uint64 `json:"stored_bytes"`
	// Checksums of the object as it is stored: CRC-32 (IEEE) and CRC-32C
	// (Castagnoli). Services keep the one or the other.
	StoredCRC32  uint32 `json:"stored_crc32"`
	StoredCRC32C uint32 `json:"stored_crc32c"`
}

// RunReceipt lists the objects of one run. It is stored as a file of its own
// for events, and in the manifest for the last committed run.
type RunReceipt struct {
	Format       string             `json:"format,omitempty"`
	Version      int                `json:"version,omitempty"`
	Run          int64              `json:"run"`
	Content      string             `json:"content,omitempty"` // sdk.Run.Content of the run
	Fence        int64              `json:"fence"`             // of the attempt that wrote it
	CompleteAsOf string             `json:"complete_as_of,omitempty"`
	Partitions   []PartitionReceipt `json:"partitions"`
}

// PartitionReceipt lists the objects of one partition of a run, in the order of
// their rows.
type PartitionReceipt struct {
	Index int    `json:"index"`
	Date  string `json:"date,omitempty"`
	Files []File `json:"files"`
}

func newManifest(run sdk.Run) *Manifest {
	return &Manifest{
		Format: manifestFormat, Version: manifestVersion,
		ProjectID: run.ProjectID, Pipeline: run.Pipeline, PipelineID: run.PipelineID,
		Stream: streamName(run.Stream),
	}
}

func streamName(s sdk.Stream) string {
	switch s {
	case sdk.People:
		return "people"
	case sdk.Identity:
		return "identity"
	case sdk.Events:
		return "events"
	default:
		return ""
	}
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b.Bytes(), nil
}

// errDamaged is part of the error of a manifest that a repair can restore.
var errDamaged = errors.New("it was damaged by another writer: 'penstock pipelines verify' can restore it, or take a copy or a version of it")

// decodeManifest parses a manifest. It refuses other formats and higher versions,
// whose members a rewrite would lose.
func decodeManifest(name string, data []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, sdk.Permanent(fmt.Errorf("read manifest %s: %w; %w", name, err, errDamaged))
	}
	if m.Format != manifestFormat {
		return nil, sdk.Permanent(fmt.Errorf("read manifest %s: its format is %q and not %q; %w", name, m.Format, manifestFormat, errDamaged))
	}
	if m.Version > manifestVersion {
		return nil, sdk.Permanent(fmt.Errorf("read manifest %s: its version is %d, this plugin knows up to %d: upgrade the plugin", name, m.Version, manifestVersion))
	}
	return m, nil
}

// check refuses a manifest that names objects of other pipelines, such as one
// that was edited by hand: a sweep that trusted it would remove the current set.
func (m *Manifest) check(lay layout) error {
	if stem := m.Pipeline + "-" + m.PipelineID; stem != lay.stem {
		return m.foreign(lay, "pipeline "+stem)
	}
	if dir, ok := streamDirs[m.Stream]; !ok || !strings.HasSuffix("/"+lay.dir, fmt.Sprintf("/%d/%s/", m.ProjectID, dir)) {
		return m.foreign(lay, fmt.Sprintf("stream %s of project %d", m.Stream, m.ProjectID))
	}
	names := func(files []File) error {
		for _, f := range files {
			if _, _, ok := lay.owned(f.Name); !ok && !lay.isFixed(f.Name) {
				return m.foreign(lay, "the file "+f.Name)
			}
		}
		return nil
	}
	if err := names(m.Files); err != nil {
		return err
	}
	for _, r := range []*RunReceipt{m.Receipt, m.Prepared} {
		if r == nil {
			continue
		}
		for _, p := range r.Partitions {
			if err := names(p.Files); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Manifest) foreign(lay layout, what string) error {
	return sdk.Permanent(fmt.Errorf("manifest %s names %s, which is not its own: it was edited or moved; restore it from a copy or a version", lay.manifest(), what))
}

// last returns the last committed run. Its content is empty if the manifest was
// written by a version without contents.
func (m *Manifest) last() sdk.LastRun {
	last := sdk.LastRun{Number: m.Run}
	if m.Receipt != nil && m.Receipt.Run == m.Run {
		last.Content = m.Receipt.Content
	}
	return last
}

// holds reports whether the pipeline has committed any object.
func (m *Manifest) holds() bool { return len(m.Days) > 0 || len(m.Files) > 0 }

// commit edits the manifest so that run is the last committed one. Unfinished
// runs become void.
func (m *Manifest) commit(run int64, asOf string, r *RunReceipt) {
	m.Run, m.CompleteAsOf, m.Receipt = run, asOf, r
	for _, other := range m.Unfinished {
		m.Void = addRun(m.Void, other)
	}
	m.Void = slices.DeleteFunc(m.Void, func(void int64) bool { return void >= run })
	m.Unfinished, m.Prepared = nil, nil
	if m.Stream != streamName(sdk.Events) {
		m.replaceFiles(r)
		return
	}
	if m.Days == nil {
		m.Days = make(map[string]Day)
	}
	for _, p := range r.Partitions {
		if len(p.Files) == 0 {
			continue
		}
		d := m.Days[p.Date]
		for _, f := range p.Files {
			d.Rows += f.Rows
			d.RowsBytes += f.RowsBytes
			d.StoredBytes += f.StoredBytes
			d.Files++
		}
		if d.Run = run; asOf != "" { // else it is as complete as it was
			d.CompleteAsOf = asOf
		}
		m.Days[p.Date] = d
	}
}

func (m *Manifest) replaceFiles(r *RunReceipt) {
	m.Files = nil
	for _, p := range r.Partitions {
		m.Files = append(m.Files, p.Files...)
	}
}

func (m *Manifest) clone() (*Manifest, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("copy manifest: %w", err)
	}
	c := new(Manifest)
	return c, json.Unmarshal(data, c)
}

// receipt converts the receipt to the SDK's type; nil stays nil.
func (r *RunReceipt) receipt() *sdk.Receipt {
	if r == nil {
		return nil
	}
	out := &sdk.Receipt{Partitions: make([]sdk.PartitionReceipt, 0, len(r.Partitions))}
	for _, p := range r.Partitions {
		out.Partitions = append(out.Partitions, p.receipt())
	}
	return out
}

func (p PartitionReceipt) receipt() sdk.PartitionReceipt {
	out := sdk.PartitionReceipt{Index: p.Index, Date: p.Date}
	for _, f := range p.Files {
		out.RowsCRC32 = batch.CombineCRC32(out.RowsCRC32, f.RowsCRC32, f.RowsBytes)
		out.Rows += f.Rows
		out.RowsBytes += f.RowsBytes
		out.StoredBytes += f.StoredBytes
		out.Objects = append(out.Objects, f.Name)
	}
	return out
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

var errNewerFence = errors.New("a writer with a newer fence holds the target")
