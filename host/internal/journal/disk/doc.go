// Package disk keeps immutable files durably in a directory.
//
// It is not a general file system: a file is created whole under a temporary
// name, synced, renamed, and its directory synced; from then on it is only
// read or deleted. What Create's Commit returned from survives a crash of the
// machine; what it did not may be there under a temporary name, which Sweep
// removes.
package disk
