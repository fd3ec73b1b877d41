package protocol

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Stream is one of the three kinds of data.
type Stream = batch.Stream

// Totals count rows.
type Totals = batch.Totals

// Mode is the relation of a run's rows to those of earlier runs.
type Mode int

// The modes.
const (
	Append  Mode = iota + 1 // the rows are added
	Replace                 // the rows are the whole set and replace the one before
)

// String names the mode for people.
func (m Mode) String() string {
	switch m {
	case Append:
		return "append"
	case Replace:
		return "replace"
	default:
		return fmt.Sprintf("unknown mode %d", int(m))
	}
}

// Partitioning is the choice of the date that divides rows into partitions.
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

// String names the guarantee for people.
func (g Guarantee) String() string {
	switch g {
	case Transaction:
		return "transaction"
	case Idempotent:
		return "idempotent"
	case AtLeastOnce:
		return "at least once"
	default:
		return fmt.Sprintf("unknown guarantee %d", int(g))
	}
}

// Description is a plugin's answer to Describe: name, version, schema and
// capabilities.
type Description struct {
	// Name is the destination's type in configurations: [a-z][a-z0-9_]*.
	Name string
	// Version is the plugin's own, for people.
	Version      string
	Schema       schema.Schema
	Capabilities Capabilities
	// Environment are the environment variables that the plugin reads: see
	// ValidEnvironment.
	Environment []string
}

// Capabilities are the streams, modes and guarantees that a destination
// supports.
type Capabilities struct {
	Streams      []Stream
	Modes        []Mode
	Partitioning Partitioning
	Guarantee    Guarantee
	// GuaranteeText is the meaning of the guarantee at this destination, in a
	// sentence or two for people.
	GuaranteeText string
	Inventory     bool
	Erase         bool
	// MaxDaysPerRun is the largest number of days in one run; 0: no limit.
	MaxDaysPerRun int
	// Repair: the destination restores objects of committed runs. Only with
	// Inventory.
	Repair bool
	// MinInterval is the shortest time between two runs of a pipeline that suits the
	// destination's quotas and prices; 0: any. The host keeps to it for a continuous
	// pipeline whose configuration gives no time.
	MinInterval time.Duration
}

// Project describes the project that a destination is configured for.
type Project struct {
	ID       int64
	Name     string
	TimeZone string // IANA name
	Token    string // may be empty
}

// Severity tells an error from a warning.
type Severity int

// The severities.
const (
	SeverityError Severity = iota + 1
	SeverityWarning
)

// Diagnostic is one mistake in a configuration. The plugin knows the
// attribute; the host adds file, line and column.
type Diagnostic struct {
	Severity Severity
	// Attribute is the attribute's name; empty: the block as a whole.
	Attribute string
	// Summary is a title: "Path is not absolute".
	Summary string
	// Detail gives the cause of the mistake and the way to correct it, in
	// sentences.
	Detail string
}

// Configured is the answer to Configure. Targets are empty when a diagnostic
// is an error.
type Configured struct {
	Diagnostics []Diagnostic
	Targets     []Target
}

// Target is a physical place that a stream is written to. URI is equal for
// two destinations exactly when they write to the same place, also those of two
// plugins. A URI that ends in a slash is a directory: every URI that begins with it
// lies in it.
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
	// Content is a digest of the rows that the run sends: 32 characters of
	// [0-9a-f].
	// Two runs with one number and different contents come from two hosts that
	// do not know of each other: a data directory was restored from a backup,
	// or copied. A destination keeps it with the number of the last committed
	// run: see LastRun. Empty: the host does not know it.
	Content string

	Fence int64     // grows with every attempt at any run of the pipeline; 0 in Status and Inventory
	Adopt bool      // take over a target that names another pipeline's id
	AsOf  time.Time // all rows journaled before it for the run's dates are in this run or an earlier one; zero: more runs are due

	// Repair restores the objects of this run, which is committed; nil: the run is
	// carried out.
	Repair *Repair

	// Extents is the absolute path of the directory with the files that an Extent
	// names; empty: every payload is sent. Only package sdk reads it.
	Extents string
}

// Extent is the place of a batch's payload, in a file of a directory that host and
// plugin can both read.
type Extent struct {
	File   string // below Run.Extents, with slashes
	Offset int64  // of the payload's first byte
	Length int    // of the payload in bytes
}

// Repair restores objects of a pipeline at its destination to the bytes that were
// committed. docs/protocol.md has the order of the messages.
type Repair struct {
	// Remove are the objects to remove, by their names in the inventory; at most
	// MaxRemove. An object is removed only if its name is one of the pipeline's
	// own, no record of a commit names it, and no run that may still be committed
	// can write it.
	Remove []string
	// Deep compares objects by reading them.
	Deep bool
	// Partitions is the number of partitions that the run has. If all of them are
	// sent, the destination's record of the run is restored too.
	Partitions int
	// Totals computes the totals by date in the destination's record again, from
	// its records of all committed runs.
	Totals bool
	// Record restores the destination's record of the pipeline, which the inventory
	// had as Restorable: the run is the last one that the host has committed. Of a
	// set all partitions are sent. Open returns the run as the last committed one.
	Record bool
	// OpenRun is the number of the run that the host has begun and not committed; 0:
	// there is none. A record of any other later run is one of another host, and
	// Open refuses to restore.
	OpenRun int64
}

// MaxRemove is the largest number of objects that one repair removes.
const MaxRemove = 5000

// LastRun is the last run that a pipeline has committed to a destination. The
// destination keeps it, changes it in the step that commits, and returns it
// from Open and Status; the host compares it with its own record. The zero
// value means that nothing is committed.
type LastRun struct {
	Number  int64  `json:"number"`
	Content string `json:"content,omitempty"` // Run.Content as it was committed; empty: not kept
}

// Last returns the number and content that a destination records when it commits
// the run.
func (r Run) Last() LastRun { return LastRun{Number: r.Number, Content: r.Content} }

// Holds reports whether run is committed. A run whose number is taken by
// another content is an error of class Permanent: two hosts write to one
// place, and neither may take the other's rows for its own.
//
// A run with a smaller number than the last one counts as committed: its content
// is not known here.
func (l LastRun) Holds(run Run) (bool, error) {
	switch {
	case l.Number != run.Number:
		return l.Number > run.Number, nil
	case l.Content != run.Content:
		return false, &Error{Class: Permanent, Err: fmt.Errorf(
			"run %d of pipeline %s is committed with other content: %s, and not %s", run.Number, run.Pipeline, orUnknown(l.Content), orUnknown(run.Content))}
	}
	return true, nil
}

func orUnknown(content string) string {
	if content == "" {
		return "unknown"
	}
	return content
}

// Partition is a part of a run's rows: those of one date. For people and
// identity there is one, without a date.
type Partition struct {
	// Index is 0 for a run's first partition, then 1, 2, …
	Index int
	// Date is YYYY-MM-DD, by the destination's partitioning, or empty.
	Date string
}

// Receipt lists the partitions that a run put at the destination.
type Receipt struct {
	Partitions []PartitionReceipt
}

// PartitionReceipt counts the rows of one partition at the destination. Rows and
// Rejected add up to the rows sent.
type PartitionReceipt struct {
	Index       int    // of the partition; filled in by the SDK
	Date        string // of the partition; filled in by the SDK
	Rows        uint64
	Rejected    uint64
	RowsBytes   uint64   // of the rows stored, uncompressed; 0: not known
	RowsCRC32   uint32   // IEEE, of the rows stored, in order; 0: not known
	StoredBytes uint64   // over all objects; 0: not known
	Objects     []string // names of written objects, for people; 10,000 reach the host at most
	// Changed counts, by reason, the stored rows that were changed to fit the
	// destination: see package unusual. A row may count under several reasons.
	Changed map[string]uint64
}

// RejectedRow is a row that the destination did not take.
type RejectedRow struct {
	Partition int
	Row       uint64 // index in the partition, from 0
	Reason    string
	Line      []byte // as it was sent, without its newline
}

// RunState is the state of a run at the destination.
type RunState int

// The run states.
const (
	// Absent: not committed, and never will be by an attempt that is over. One
	// that another process has open may still commit, until a newer fence is
	// opened: Exporter.Open has the last word.
	Absent    RunState = iota + 1
	Committed          // a run with this number is committed, or a later run of the pipeline is
	InDoubt            // the destination still works on it: ask again
)

// String names the state for people.
func (s RunState) String() string {
	switch s {
	case Absent:
		return "absent"
	case Committed:
		return "committed"
	case InDoubt:
		return "in doubt"
	default:
		return fmt.Sprintf("unknown state %d", int(s))
	}
}

// Status is a destination's answer to the host's question for a run's state.
type Status struct {
	// State may be left 0 by a destination that has its answer from a ledger:
	// the SDK then takes it from Last.
	State   RunState
	Last    LastRun  // the pipeline's last committed run
	Receipt *Receipt // of the committed run with the number asked about, when the destination still knows it
	// Content is Run.Content of the committed run with the number asked about;
	// empty: not known. The SDK fills it in when that run is the last one.
	Content string
	Fence   int64 // as recorded at the destination; 0: none
}

// CheckResult is the result of one operation that Check tried. The Detail of a
// failed one has the service's answer and how to grant the missing permission.
type CheckResult struct {
	Action string // "write", "list", "delete", "create table"
	OK     bool
	Detail string
}

// SetupFormat is the language of the text of setup steps.
type SetupFormat int

// The formats.
const (
	SetupCommands  SetupFormat = iota + 1 // commands of the vendor's CLI, for a POSIX shell
	SetupTerraform                        // Terraform's language
)

// SetupRequest asks for the steps that prepare a service for a destination.
type SetupRequest struct {
	Projects    []Project // that are exported to the destination; at least one
	Config      []byte    // attributes as a JSON object; those without a known value are left out
	Destination string    // the name in the configuration
	Format      SetupFormat
	Unknown     []string // attributes that are set and have no known value
}

// SetupStep is one step. Its text is a piece of a shell script or of a Terraform
// file, with names and values escaped.
type SetupStep struct {
	Title string // the purpose of the step, in one sentence
	Text  string
}

// SetupSteps is the answer to a SetupRequest.
type SetupSteps struct {
	Diagnostics []Diagnostic
	Steps       []SetupStep // none when a diagnostic is an error
}

// ErrNoSetup is returned by Client.Setup for a plugin that has no setup text.
var ErrNoSetup = errors.New("this plugin has no setup text")

// InventoryQuery selects what an inventory lists.
type InventoryQuery struct {
	Run      Run    // of which project, pipeline, id and stream count
	From, To string // first and last date, YYYY-MM-DD; empty: no limit
	// Deep reads each object and counts its rows. Otherwise an object is read only
	// if its service keeps no checksum of it.
	Deep bool
}

// Holds reports whether the query selects a date. A replaced set has the empty
// date, which every query selects.
func (q InventoryQuery) Holds(date string) bool {
	return date == "" || (q.From == "" || date >= q.From) && (q.To == "" || date <= q.To)
}

// InventoryKind is the kind of an InventoryItem.
type InventoryKind int

// The kinds.
const (
	InventoryObject InventoryKind = iota + 1 // one object, or one partition of a table
	InventoryTotals                          // the totals of one date in the destination's record
	InventoryRun                             // the destination's record of one committed run
	InventoryRecord                          // the destination's record as a whole; the first item
)

// InventoryItem is one entry of an inventory: an object as the destination's own
// record describes it and as its service has it, or a part of that record.
type InventoryItem struct {
	Kind   InventoryKind
	Date   string
	Run    int64  // of InventoryRecord: the last committed one
	Object string // name; of a record: the object that holds it
	// Recorded is nil for an object that no record names, Found for one that is
	// missing.
	Recorded, Found *InventoryFacts
	// Unfinished: the object belongs to a run that is not committed and may still
	// be.
	Unfinished bool
	// Foreign: the name is not one of the pipeline's own. The object is listed
	// because its size is that of a recorded object, of which it may be a copy.
	Foreign bool
	// Problem is why an object or a record cannot be read; empty: it can.
	Problem string
	// Content is Run.Content of a run; empty: not kept.
	Content string
	// Restorable: the record is missing, damaged, or says that nothing is committed,
	// and Repair.Record can restore it.
	Restorable bool
}

// InventoryFacts describe an object, or the objects of a date.
type InventoryFacts struct {
	// Rows, and their bytes and CRC-32 (IEEE) uncompressed. Of a found object they
	// are known only if it was Counted.
	Rows      uint64
	RowsBytes uint64
	RowsCRC32 uint32
	// StoredBytes is the size as stored; 0 of a part of a table, whose record has only
	// rows. The rows of such a part are counted also if the inventory is not deep.
	StoredBytes uint64
	// Checksum is that of the bytes as stored, with its algorithm:
	// "crc32c:9a71bb4c". Empty: not known.
	Checksum string
	Objects  uint64 // of a date
	Counted  bool
}

// EraseResult counts the rows that Erase removed and the objects that it
// changed.
type EraseResult struct {
	Rows    uint64
	Objects uint64
}
