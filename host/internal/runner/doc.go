// Package runner carries out pipelines: it registers them, plans runs, has each run
// exported with one attempt at a time, and tells their state. It also compares a
// pipeline with its destination, after a catalog was restored and for verify.
//
// It knows no sources: rows come out of the journals of package project. Iterations tell
// package scheduler when a pipeline is due, out of its schedule and its state, and carry
// out what is due.
//
// Runner's pipelines are resolved once: each knows its block, its project and its
// destination. A step resolves the rest, the definition and the state in the catalog,
// and plans, exports and records with that.
//
// The states of a run, and what moves it from one to another (in brackets):
//
//	(none) --[rows to export, after a seal]--> planned --[lease acquired]--> running
//	running --[prepared, verified, committed, receipt recorded]--> succeeded
//	running --[transient error]--> running, with an error: "retrying"
//	running --[end of the host]--> running, without a host: "interrupted"
//	running --[permanent or configuration error]--> failed
//	interrupted --[next start of a host]--> running
//	failed --[start of a host, runs retry, pipelines run]--> planned
//
// Promises: steps of one pipeline run one after another, in this process by a gate, and
// across processes by the run's lease. A pipeline's cursor moves only in the
// transaction that records a receipt.
package runner
