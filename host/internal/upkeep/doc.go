// Package upkeep keeps journals small over the years. It removes rows that are older
// than the retention and that no pipeline needs, brings the many small files of a day
// together, and sweeps files that a crash has left behind.
//
// It decides which files are rewritten, and when; package journal rewrites them, and
// package catalog refuses to remove rows that a pipeline has yet to export, in the
// transaction that would remove them.
//
// Promises: one file is written at a time, for all projects together, at a bounded rate;
// memory does not grow with the journal; a pass that is stopped or killed anywhere
// leaves each row readable, and the next pass goes on. A file that a live process has
// announced is never removed.
package upkeep
