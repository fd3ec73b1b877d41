package sdk

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Plugin is what a destination plugin's main hands to Serve.
type Plugin struct {
	// Name is the destination's type in configurations: [a-z][a-z0-9_]*.
	Name string
	// Version is the plugin's own, for people.
	Version string
	// Schema describes the destination block's attributes.
	Schema schema.Schema
	// Capabilities say what the destination can do. What the SDK can see from
	// the optional interfaces (inventory, erase) it fills in itself only when
	// New's result is known, so they are stated here.
	Capabilities Capabilities
	// New makes the destination for one project. It checks what the schema
	// cannot (two attributes that exclude each other) and returns every
	// mistake as Diagnostics. It makes no network call.
	New func(ctx context.Context, config Config) (Destination, error)
}

// Destination is what every destination must do. One value serves one
// project; the SDK never calls Write, Prepare, Commit and Abort of the same
// value concurrently, Status and the other optional calls may come at any time.
//
// A destination must tolerate a run that comes again: the same rows, in the
// same partitions and batches, under the same Run, after a crash at any
// instant. What it names after Run and Partition overwrites itself.
type Destination interface {
	// Targets are the physical places this destination writes to, one per
	// stream it takes. It makes no network call.
	Targets() []Target

	// Write stores one partition and returns what it stored. It reads r to its
	// end. Nothing that it stores may be taken for committed by Status.
	Write(ctx context.Context, run Run, p Partition, r *batch.Reader) (PartitionReceipt, error)

	// Commit makes run the last committed one. It is called once per attempt,
	// after every partition was written and prepared, and is idempotent.
	Commit(ctx context.Context, run Run, receipt Receipt) error

	// Status looks at the destination and says what became of a run.
	Status(ctx context.Context, run Run) (Status, error)
}

// The optional interfaces. The SDK looks for each on the value that New
// returned.
type (
	// Opener claims the target before the first partition: it records
	// run.Fence at the destination and refuses an older one with Fenced, and a
	// target that another pipeline holds unless run.Adopt. Without it the SDK
	// asks Status, and keeps the fence for the life of the process only.
	Opener interface {
		Open(ctx context.Context, run Run) (lastCommitted int64, err error)
	}

	// Preparer makes all that was written durable and checks it.
	Preparer interface {
		Prepare(ctx context.Context, run Run, receipt Receipt) error
	}

	// Aborter is told that an attempt ended without commit. With discard it
	// removes what the run has written.
	Aborter interface {
		Abort(ctx context.Context, run Run, discard bool) error
	}

	// Checker tries what an export will need, and leaves nothing behind.
	Checker interface {
		Check(ctx context.Context) []CheckResult
	}

	// Inventorier lists what the destination holds of a pipeline.
	Inventorier interface {
		Inventory(ctx context.Context, run Run, yield func(InventoryItem) error) error
	}

	// Eraser removes the rows of distinct ids from what was exported. ids is
	// called until it returns io.EOF.
	Eraser interface {
		Erase(ctx context.Context, run Run, ids func() ([]string, error)) (EraseResult, error)
	}

	// Closer frees what the destination holds. It is called once, when nothing
	// else is running.
	Closer interface {
		Close() error
	}
)

// Stream is one of the three kinds of data.
type Stream = batch.Stream

// The streams.
const (
	Events   = batch.Events
	People   = batch.People
	Identity = batch.Identity
)

// Mode says how a run's rows relate to those of earlier runs.
type Mode int

// The modes.
const (
	Append  Mode = iota + 1 // the rows are added
	Replace                 // the rows are the whole set and replace the one before
)

// Partitioning says which date makes a partition.
type Partitioning int

// The partitionings.
const (
	ByUTCDate     Partitioning = iota + 1
	ByProjectDate              // the date in the project's time zone
)

// Guarantee is how strongly a destination keeps a run's rows exactly once.
type Guarantee int

// The guarantees, strongest first.
const (
	Transaction Guarantee = iota + 1 // a run becomes visible in one instant, and is there once
	Idempotent                       // once it is committed each row is there once; before, some may be seen
	AtLeastOnce                      // a retried run may leave rows twice
)

// Capabilities say what a destination can do.
type Capabilities struct {
	Streams      []Stream
	Modes        []Mode
	Partitioning Partitioning
	Guarantee    Guarantee
	// GuaranteeText says in a sentence or two what the guarantee means here.
	GuaranteeText string
	Inventory     bool
	Erase         bool
	// MaxDaysPerRun is the most days that one run may hold; 0: no limit.
	MaxDaysPerRun int
}

// Project is what a plugin learns of a project.
type Project struct {
	ID       int64
	Name     string
	TimeZone string // IANA name
	Token    string // may be empty
}

// Target is a physical place that a stream is written to. URI is equal for
// two destinations exactly when they write to the same place.
type Target struct {
	Stream Stream
	URI    string
}

// Run names one run and the attempt at it. Whatever a destination names it
// derives from ProjectID, Pipeline, PipelineID and Number, never from Fence
// or from time.
type Run struct {
	ProjectID  int64
	Pipeline   string // the pipeline's name in the configuration
	PipelineID string // the pipeline's random id
	Stream     Stream
	Mode       Mode
	Number     int64 // 1 is a pipeline's first run

	Fence int64     // grows with every attempt at any run of the pipeline
	Adopt bool      // take over a target that names another pipeline's id
	AsOf  time.Time // all that was journaled before is in this run or an earlier one
}

// Partition is a part of a run's rows: those of one date. For people and
// identity there is one, without a date.
type Partition struct {
	Index int
	// Date is YYYY-MM-DD, by the destination's partitioning, or empty.
	Date string
}

// Receipt says what a run put at the destination.
type Receipt struct {
	Partitions []PartitionReceipt
}

// PartitionReceipt says what a run put at the destination in one partition.
// Rows and Rejected together are all that were sent. Index and Date are
// filled in by the SDK.
type PartitionReceipt struct {
	Index       int
	Date        string
	Rows        uint64
	Rejected    uint64
	RowsBytes   uint64 // of the rows stored, uncompressed; 0: not known
	RowsCRC32   uint32 // IEEE, of the rows stored, in order; 0: not known
	StoredBytes uint64 // over all objects; 0: not known
	Objects     []string
}

// RunState says what became of a run.
type RunState int

// The run states.
const (
	Absent    RunState = iota + 1 // not committed, and never will be by an attempt that is over
	Committed                     // committed, or a later run of the pipeline is
	InDoubt                       // the destination still works on it: ask again
)

// Status is the answer to what became of a run.
type Status struct {
	State         RunState
	Receipt       *Receipt // of the run asked about, when the destination still knows it
	LastCommitted int64
	Fence         int64 // as recorded at the destination; 0: none
}

// CheckResult is one thing that Check tried. Detail says, when it failed,
// what the service answered and how to grant what is missing.
type CheckResult struct {
	Action string
	OK     bool
	Detail string
}

// InventoryItem is one object or table partition that a destination holds.
type InventoryItem struct {
	Date        string
	Run         int64
	Object      string
	Rows        uint64
	StoredBytes uint64
}

// EraseResult counts what Erase removed and touched.
type EraseResult struct {
	Rows    uint64
	Objects uint64
}
