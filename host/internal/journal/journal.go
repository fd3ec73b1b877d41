package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Types of the file format that the rest of the host uses.
type (
	Day       = segment.Day
	Kind      = segment.Kind
	Partition = segment.Partition
	Block     = segment.Block
	Key       = segment.Key
	Care      = segment.Care
)

// NewCare returns the care of packers that share it: see Care.
func NewCare(warn func(error)) *Care { return segment.NewCare(warn) }

// The kinds of blocks.
const (
	KindEvents   = segment.KindEvents
	KindProfiles = segment.KindProfiles
	KindLinks    = segment.KindLinks
)

// ParseDay reads YYYY-MM-DD.
func ParseDay(s string) (Day, error) { return segment.ParseDay(s) }

// DayOf is the UTC date of an instant in unix seconds.
func DayOf(seconds int64) Day { return segment.DayOf(seconds) }

// Row is a rendered row of a Chunk.
type Row struct {
	Offset, Length int // in Chunk.Data, newline included
	Time           int64
	Key            Key
	Kind           Kind
	Flags          batch.Flags
	// KeyDate is the UTC date that the key is kept and looked for under. 0 means
	// the date of Time. A row whose Time was replaced on arrival has the date of
	// the time that was sent, so that the row sent again is found.
	KeyDate Day
	// Undated rows were sent without a time: Time is that of the arrival, and the
	// key is also looked for under the date before, because the row may have come
	// before on that date.
	Undated bool
}

// Chunk is rows from one piece of input and how far the input is read with
// them. Fragments come before Rows; a Packer makes them.
type Chunk struct {
	Fragments []*Fragment
	Rows      []Row
	Data      []byte
	// Marks tell a Packer where in Data the members of Rows begin; may be nil.
	Marks   []rowmark.Mark
	Cursors []CursorMove
}

// CursorMove advances a source's cursor at one of its positions (a file, a
// partition of a topic): from From, the cursor before the rows, to To, the cursor
// once the rows are durable. A nil From means that the position has no cursor yet.
type CursorMove struct {
	Source   string // "files.import"
	Position string // any bytes: a file's path need not be UTF-8
	From     []byte
	To       []byte
}

// ExtentRef names an extent of a project's journal.
type ExtentRef struct {
	Seq   int64
	Index int
}

// Extent is the catalog's entry of an extent. One without blocks was removed by
// retention; its other numbers are those that it had.
type Extent struct {
	Partition
	Rows, RowsBytes  int64
	Bytes            int64 // as stored
	MinTime, MaxTime int64
	Blocks           int64
}

// Segment is the catalog's entry of a segment.
type Segment struct {
	Project  int64
	Seq      int64
	Name     string // the blob that the seal wrote, which names the seal for ever; empty in a new seal: Blob
	Blob     string // that its rows are in
	Size     int64  // of the blob that the seal wrote
	SealedAt time.Time
	Extents  []Extent
	// First has, for each extent, the index of its first block among those of its
	// partition in Blob; nil if Blob holds nothing else.
	First []int64
}

// Seal is a segment that is about to become visible.
type Seal struct {
	Segment       // Seq is the project's sequence after the seal
	Keys    int64 // number of dedup keys in the segment
	Cursors []CursorMove
}

// Errors of Catalog.CommitSeal. After each of them the catalog is unchanged.
var (
	// ErrSequenceMoved says that another seal came in between.
	ErrSequenceMoved = errors.New("another seal of the project came in between")
	// ErrPendingGone says that the pending row was swept: the seal took too
	// long.
	ErrPendingGone = errors.New("the seal was given up by a sweep")
	// ErrRunsMoved says that another process has merged runs of keys.
	ErrRunsMoved = errors.New("runs of keys were merged by another process")
)

// CursorConflictError says that a source's cursor is not where the rows were
// read from: another reader moved it, and the rows may be in the journal already.
type CursorConflictError struct {
	Source, Position string
}

func (e *CursorConflictError) Error() string {
	return fmt.Sprintf("the cursor of source %s at %s was moved by another reader", e.Source, e.Position)
}

// Catalog lists the calls that the journal makes to the catalog.
type Catalog interface {
	// Sequence returns the sequence of the project's latest seal.
	Sequence(ctx context.Context, project int64) (int64, error)
	// InsertPending announces a blob, for ttl by the catalog's clock.
	InsertPending(ctx context.Context, project int64, blob string, ttl time.Duration) error
	// CommitSeal makes a segment visible: see ErrSequenceMoved, ErrPendingGone
	// and CursorConflictError.
	CommitSeal(ctx context.Context, seal Seal) error
	// Unrecorded lists seals whose commit record was not confirmed.
	Unrecorded(ctx context.Context, project int64) ([]Seal, error)
	// MarkRecorded confirms a commit record.
	MarkRecorded(ctx context.Context, project, seq int64) error
	// ExpiredPending lists announced blobs whose time is over.
	ExpiredPending(ctx context.Context, project int64) ([]string, error)
	// Pending lists all announced blobs.
	Pending(ctx context.Context, project int64) ([]string, error)
	// DropPending removes an announcement; false when it was not there, and the
	// blob may be visible.
	DropPending(ctx context.Context, blob string) (bool, error)
	// KeyRuns lists the runs of dedup keys, oldest first.
	KeyRuns(ctx context.Context, project int64) ([]keys.Run, error)
	// ReplaceKeyRuns puts one run in the place of others, and drops the pending
	// row of its blob. ErrRunsMoved when one of the others is gone.
	ReplaceKeyRuns(ctx context.Context, project int64, old []keys.Run, merged keys.Run) error
	// Segment returns a segment.
	Segment(ctx context.Context, project, seq int64) (Segment, error)
	// Blobs lists the blobs of all segments, and those of files that a rewrite has
	// replaced and not confirmed.
	Blobs(ctx context.Context, project int64) ([]string, error)
	Rewrites
}
