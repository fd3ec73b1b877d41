// Package disk keeps immutable files durably in a directory.
//
// It is not a general file system: a file is written whole under a temporary
// name, synced, renamed, and its directory is synced; from then on the file is
// only read or deleted. A file whose Commit returned nil survives a crash of the
// machine. A file that was not committed may remain under a temporary name, which
// Sweep removes.
package disk
