// Package intake supervises the source blocks of a configuration: it brings what their
// sources take, read or pull into the journals, and records that the schema refuses
// into quarantine.
//
// There is one Source for each block, of one of three kinds: Files, Collector and
// Mixpanel. The packages below host/internal/source know how to read a file, how to
// answer a client and how to pull; this one gives them journals, cursors and a place
// for refused records, keeps them going and tells their state. A new kind of source is
// a folder there, a file here and a block in package config.
//
// Promises: a source that fails keeps no other from its work. A request is
// acknowledged when its rows are in the write-ahead log, and they are in a journal
// exactly once. Serve returns when nothing that it started runs any more.
package intake
