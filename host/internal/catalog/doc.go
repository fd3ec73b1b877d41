// Package catalog keeps the transactional metadata of a host: projects,
// segments, source cursors, pipelines, runs and receipts, in SQLite.
//
// It holds no rows and decides nothing: package pipeline plans runs, package
// journal seals segments. It implements the interfaces that they declare.
//
// Every change is one transaction, durable when the call returns (WAL,
// synchronous=FULL). Where two processes could race, the statement itself
// compares: sequences, cursors and fences move only from the value that the
// caller saw. Times that leases and announcements depend on are the
// database's, not the caller's.
package catalog
