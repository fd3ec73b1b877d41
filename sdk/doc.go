// Package sdk is for authors of Penstock destination plugins: programs that
// take event rows, user profiles and identity links from the Penstock host and
// put them somewhere.
//
// A plugin is a process of its own. The host starts it, configures it and
// sends it runs: numbered sets of rows, divided into partitions by date. The
// destination stores a run's partitions, and commits the run. Everything else
// (scheduling, retries, checksums, the order of calls) is the host's and the
// SDK's.
//
// # Start
//
// main passes a Plugin to Serve. The Plugin holds the destination's name, the
// attributes of its block in a configuration (package schema) and its
// capabilities; New makes a Destination for a project from the attributes:
//
//	func main() {
//		sdk.Serve(sdk.Plugin{Name: "ndjson", Version: "0.1.0", Schema: …, Capabilities: …, New: open})
//	}
//
// New gets attributes that fit the schema, with defaults applied. It checks the
// rules that a schema cannot state (two attributes that exclude each other) and
// returns all mistakes as Diagnostics; the host shows each with file and line.
// New makes no network call.
//
// # Four methods
//
// A Destination has four methods.
//
//   - Targets returns the places that it writes to. The host keeps two pipelines
//     from writing to one place.
//   - Write stores one partition. It reads a batch.Reader to its end. Files are
//     made by copying compressed batches (batch.GzipWriter), rows are decoded
//     when they are asked for (Batch.Lines, Batch.AppendRows).
//   - Commit makes a run the last committed one, in one step.
//   - Status returns the state of a run, by looking at the destination.
//
// The example of this package is such a destination in 60 lines; the directory
// examples/third-party has a complete one, which also refuses an older host.
//
// # The one rule
//
// A run may be sent again: the host, the plugin or the network may fail at any
// instant, also after Commit and before its answer. The host then asks Status,
// and sends the run again unless it is committed: the same rows in the same
// partitions and batches under the same Run. Therefore
//
//   - objects, tables and jobs are named after the Run and the Partition, never
//     after time, chance or the fence, so that a retry overwrites them;
//   - the record of the commit lies at the destination, not in the process;
//   - Status answers Committed or Absent only when it knows; after InDoubt the
//     host asks again.
//
// # More, when it is needed
//
// The SDK looks for optional methods on the destination: Opener claims the
// target and keeps an older host (the smaller Run.Fence) from committing;
// Preparer makes everything durable before the host says Commit; Aborter
// cleans up; Checker tries permissions; Inventorier and Eraser serve
// verification and erasure; Closer ends. A destination that two hosts can
// reach should have Opener: without it the fence lives only as long as the
// process.
//
// # Errors
//
// Retryable, Permanent, Configuration and Fenced give an error its class; one
// without a class is retryable. If the destination cannot take a row, that is
// not an error: Reader.Reject sends the row back with a reason, and the other
// rows go on.
//
// # Tasks of the SDK
//
// The calls of one destination for an export come one after another, from one
// goroutine; Status, Check and Inventory may run at the same time. The SDK
// compares the rows that arrive with the host's checksums and totals, and
// receipts with the rows that it handed out: a receipt of Write with fewer rows
// than the partition has fails the run. A stream that is cut cancels the
// context and ends in Abort without discard. The process ends with its host;
// its standard output is written to the host's log.
//
// # Test
//
// Package destinationtest runs the real process through kills, freezes, lost
// replies and retries. A destination that passes keeps the promise that its
// users read: after a run is reported successful its rows are there, each
// once.
package sdk
