package sdk

import (
	"context"

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
	// Capabilities say what the destination can do. One that states Inventory
	// or Erase implements Inventorier or Eraser.
	Capabilities Capabilities
	// Environment are the environment variables that the plugin, or a library in
	// it, reads: names, or beginnings of at least three characters and a "*", such
	// as "AWS_*". The host passes these and those that every plugin sees (PATH,
	// HOME, proxies, TLS roots), and no others.
	Environment []string
	// New makes the destination for one project. It checks what the schema
	// cannot (two attributes that exclude each other) and returns every
	// mistake as Diagnostics; warnings alone may come with a destination. It
	// makes no network call. ctx is that of the call: nothing that outlives
	// New hangs on it.
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
	// end; an error of r it returns. Nothing that it stores may be taken for
	// committed by Status. It may return before all is durable when Prepare
	// waits for that.
	Write(ctx context.Context, run Run, p Partition, r *batch.Reader) (PartitionReceipt, error)

	// Commit makes run the last committed one: it keeps run.Last() in one step.
	// It is called once per attempt, after every partition was written and
	// prepared, and is idempotent; LastRun.Holds tells a repeated commit from a
	// number that another host has taken. When it returns nil the run stays
	// committed, whatever crashes.
	Commit(ctx context.Context, run Run, receipt Receipt) error

	// Status looks at the destination and says what became of a run. It must
	// not guess: Absent is an answer that the host acts on. A destination that
	// keeps a ledger returns what that has as Last, and leaves State 0.
	Status(ctx context.Context, run Run) (Status, error)
}

// The optional interfaces. The SDK looks for each on the value that New
// returned.
type (
	// Opener claims the target before the first partition: it records
	// run.Fence at the destination and refuses an older one with Fenced, and a
	// target that another pipeline holds unless run.Adopt. It returns the
	// pipeline's last committed run, whatever run is. Without it the SDK asks
	// Status, and keeps the fence for the life of the process only.
	Opener interface {
		Open(ctx context.Context, run Run) (LastRun, error)
	}

	// Preparer makes all that was written durable and checks it.
	Preparer interface {
		Prepare(ctx context.Context, run Run, receipt Receipt) error
	}

	// Aborter is told that an attempt has ended and was not seen to commit. With
	// discard it removes what the run has written. Without, it frees what the
	// attempt holds and leaves the rest to the next one; it then also comes
	// after a Commit that failed, whose outcome is unknown.
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
