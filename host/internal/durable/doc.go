// Package durable makes names in directories survive a power cut: of files that were
// renamed, and of directories that were made. A file's bytes are its writer's to sync,
// before it is renamed.
//
// It knows no layout, and keeps nothing: the journal's store and the write-ahead log have
// file systems of their own, which tests replace.
//
// Promises: after SyncDir has returned nil, the names that the directory had before are
// stored; after MakeDir has returned nil, so is the directory's own name, also if another process made it.
package durable
