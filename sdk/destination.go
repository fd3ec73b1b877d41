package sdk

import (
	"context"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Plugin describes a destination plugin. Its main function passes one to Serve.
type Plugin struct {
	// Name is the destination's type in configurations: [a-z][a-z0-9_]*.
	Name string
	// Version is the plugin's own, for people.
	Version string
	// Schema describes the destination block's attributes.
	Schema schema.Schema
	// Capabilities are the streams, modes and guarantees that the destination
	// supports. A destination with Inventory or Erase must implement Inventorier
	// or Eraser.
	Capabilities Capabilities
	// Environment are the environment variables that the plugin, or a library in
	// it, reads: names, or beginnings of at least three characters and a "*", such
	// as "AWS_*". The host passes these and those that every plugin sees (PATH,
	// HOME, proxies, TLS roots), and no others.
	Environment []string
	// New makes the destination for one project. It checks what the schema
	// cannot (two attributes that exclude each other) and returns every
	// mistake as Diagnostics; warnings alone may come with a destination. It
	// makes no network call. ctx ends with the call: work that outlives New must
	// not depend on it.
	New func(ctx context.Context, config Config) (Destination, error)
	// Setup returns the steps that prepare the service for a destination, before
	// anything exists there: a bucket, a role, a policy with exactly the
	// permissions that the plugin uses. It makes no network call and needs no
	// credential. Mistakes in the configuration are returned as Diagnostics.
	// Package setup has the quoting. nil: the plugin has no setup text.
	Setup func(request SetupRequest) ([]SetupStep, error)
}

// Destination has the methods that every destination must implement. One value
// serves one project. The SDK never calls Write, Prepare, Commit and Abort of
// the same value concurrently; it may call Status and the other optional methods
// at any time.
//
// A destination must tolerate a run that is sent again: the same rows, in the
// same partitions and batches, under the same Run, after a crash at any
// instant. If its objects are named after Run and Partition, a retry overwrites
// them.
//
// With Capabilities.Repair the same methods restore a run that is committed:
// Run.Repair is set then, in each of them. Open refuses a run that is not
// committed, or with other content. Write is called for those partitions that the
// host sends, keeps whole objects, and stores the others unseen. Commit shows
// them, removes Repair.Remove, and brings the record in line; the last committed
// run stays. Abort drops what was not shown.
type Destination interface {
	// Targets returns the physical places that this destination writes to, one
	// for each stream that it takes. It makes no network call.
	Targets() []Target

	// Write stores one partition and returns a receipt for the stored rows. It
	// reads r to io.EOF, and returns any other error of r. Status must not report
	// the rows as committed. Write may return before the rows are durable if
	// Prepare waits until they are.
	Write(ctx context.Context, run Run, p Partition, r *batch.Reader) (PartitionReceipt, error)

	// Commit makes run the last committed one: it keeps run.Last() in one step.
	// It is called once per attempt, after every partition was written and
	// prepared, and is idempotent; LastRun.Holds tells a repeated commit from a
	// number that another host has taken. When it returns nil the run stays
	// committed, whatever crashes.
	Commit(ctx context.Context, run Run, receipt Receipt) error

	// Status looks at the destination and returns the state of a run. It must
	// not guess: the host sends a run again that is Absent. A destination with a
	// ledger returns the ledger's last run as Last, and leaves State 0.
	Status(ctx context.Context, run Run) (Status, error)
}

// The optional interfaces. The SDK looks for each on the value that New
// returned.
type (
	// Opener claims the target before the first partition: it records
	// run.Fence at the destination and refuses an older one with Fenced, and a
	// target that another pipeline holds unless run.Adopt. It returns the
	// pipeline's last committed run, whatever run is. ctx ends after 50 s: a host
	// kills a plugin that has not answered within a minute. Without Opener the SDK asks
	// Status, and keeps the fence for the life of the process only.
	Opener interface {
		Open(ctx context.Context, run Run) (LastRun, error)
	}

	// Preparer makes all written rows durable and checks them.
	Preparer interface {
		Prepare(ctx context.Context, run Run, receipt Receipt) error
	}

	// Aborter ends an attempt that is not known to have committed. With discard
	// it removes the rows that the run has written. Without discard it frees the
	// attempt's resources and leaves the rows to the next attempt; the SDK then
	// also calls it after a failed Commit, whose outcome is unknown.
	Aborter interface {
		Abort(ctx context.Context, run Run, discard bool) error
	}

	// Checker tries the operations that an export needs: write, list, delete.
	// It leaves no objects behind.
	Checker interface {
		Check(ctx context.Context) []CheckResult
	}

	// Inventorier compares the destination's own record of a pipeline's commits
	// with the objects that its service has. It calls yield for each entry, the
	// record as a whole first, and stops at yield's first error. It changes
	// nothing, and may run while a run is carried out.
	Inventorier interface {
		Inventory(ctx context.Context, q InventoryQuery, yield func(InventoryItem) error) error
	}

	// Eraser removes the rows of the given distinct ids from all committed runs.
	// It calls ids for the next ids until ids returns io.EOF.
	Eraser interface {
		Erase(ctx context.Context, run Run, ids func() ([]string, error)) (EraseResult, error)
	}

	// Closer frees the destination's resources, such as connections. The SDK
	// calls it once, after all other calls have returned.
	Closer interface {
		Close() error
	}
)
