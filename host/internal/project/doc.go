// Package project holds the stores of the configured projects: of each one its
// journal, its generations of people and of identity mappings, and its index of
// identity links with the aliases that a legacy project has.
//
// A Set is built once, when a data directory is opened, and does not change: a
// Project is found without a lock. A project knows neither sources nor pipelines.
// Rows come by its Journal, and generations are read by their State.
//
// Promises: the writer of a journal that has failed is closed and opened again by the
// next use, after a pause; a holder of the old writer is told so by its Done, and by
// the error of every call. No lock is held over I/O, so that status is told while a
// disk hangs.
package project
