// Package datadir is the host's data directory as a whole: the names in it, its lock,
// the explanation of a full disk, and the rebuilding of its catalog.
//
// It reads and writes no rows. A catalog is rebuilt before a host exists, never while
// one has it open: the holder of a Locks is the only process that writes.
package datadir
