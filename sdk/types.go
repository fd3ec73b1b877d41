package sdk

import (
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// The types of the API that host and plugin share. They are declared in packages
// protocol and batch.
type (
	// Stream is one of the three kinds of data.
	Stream = batch.Stream
	// Mode is the relation of a run's rows to those of earlier runs.
	Mode = protocol.Mode
	// Partitioning is the choice of the date that divides rows into partitions.
	Partitioning = protocol.Partitioning
	// Guarantee is how strongly a destination keeps a run's rows exactly once.
	Guarantee = protocol.Guarantee
	// Capabilities are the streams, modes and guarantees that a destination
	// supports.
	Capabilities = protocol.Capabilities
	// Project describes the project that a destination is configured for.
	Project = protocol.Project
	// Target is a physical place that a stream is written to.
	Target = protocol.Target
	// Run names one run and the attempt at it.
	Run = protocol.Run
	// LastRun is the last run that a pipeline has committed to a destination.
	LastRun = protocol.LastRun
	// Partition is a part of a run's rows: those of one date.
	Partition = protocol.Partition
	// Receipt lists the partitions that a run put at the destination.
	Receipt = protocol.Receipt
	// PartitionReceipt counts the rows of one partition at the destination.
	PartitionReceipt = protocol.PartitionReceipt
	// RunState is the state of a run at the destination.
	RunState = protocol.RunState
	// Status is a destination's answer to the host's question for a run's state.
	Status = protocol.Status
	// CheckResult is one thing that Check tried.
	CheckResult = protocol.CheckResult
	// SetupFormat is the language of the text of setup steps.
	SetupFormat = protocol.SetupFormat
	// SetupStep is one step that prepares a service for a destination.
	SetupStep = protocol.SetupStep
	// Repair restores objects of a committed run.
	Repair = protocol.Repair
	// InventoryQuery selects what an inventory lists.
	InventoryQuery = protocol.InventoryQuery
	// InventoryItem is one entry of an inventory.
	InventoryItem = protocol.InventoryItem
	// InventoryFacts describe an object, or the objects of a date.
	InventoryFacts = protocol.InventoryFacts
	// EraseResult counts the rows that Erase removed and the objects that it
	// changed.
	EraseResult = protocol.EraseResult
)

// The streams.
const (
	Events   = batch.Events
	People   = batch.People
	Identity = batch.Identity
)

// The modes.
const (
	Append  = protocol.Append  // the rows are added
	Replace = protocol.Replace // the rows are the whole set and replace the one before
)

// The partitionings.
const (
	ByUTCDate     = protocol.ByUTCDate
	ByProjectDate = protocol.ByProjectDate // the date in the project's time zone
)

// The guarantees, strongest first.
const (
	Transaction = protocol.Transaction // a run becomes visible in one instant, and is there once
	Idempotent  = protocol.Idempotent  // once it is committed each row is there once; before, some may be seen
	AtLeastOnce = protocol.AtLeastOnce // a retried run may leave rows twice
)

// The formats of setup steps.
const (
	SetupCommands  = protocol.SetupCommands  // commands of the vendor's CLI, for a POSIX shell
	SetupTerraform = protocol.SetupTerraform // Terraform's language
)

// The kinds of an InventoryItem.
const (
	InventoryObject = protocol.InventoryObject // one object, or one partition of a table
	InventoryTotals = protocol.InventoryTotals // the totals of one date in the destination's record
	InventoryRun    = protocol.InventoryRun    // the destination's record of one committed run
	InventoryRecord = protocol.InventoryRecord // the destination's record as a whole; the first item
)

// The run states.
const (
	Absent    = protocol.Absent    // not committed, and never will be by an attempt that is over
	Committed = protocol.Committed // a run with this number is committed, or a later run of the pipeline is
	InDoubt   = protocol.InDoubt   // the destination still works on it: ask again
)
