// Package pipeline defines the registered pipelines, the rule that picks the
// extents of a pipeline's next run, and the states of a run.
//
// It plans and decides; it neither reads blocks nor speaks with plugins
// (package export does), and it knows no SQL (package catalog keeps what is
// defined here).
//
// A pipeline exports in two phases with one clock, the journal's sequence.
// The backfill takes the extents that were journaled up to the pipeline's
// registration, by date; the live phase takes later extents, by sequence. A
// Cursor is a position in each. A run is a list of extents, fixed when it is planned:
// planning from the same cursor over the same journal gives the same list,
// and a retried run never changes it.
package pipeline
