// Package export carries out one run: it reads the run's blocks out of the
// journal, streams them to the destination plugin as they are, compares what
// the plugin says it holds with what was sent, and records the receipt.
//
// It decodes no block, plans nothing (package pipeline does) and retries
// nothing: an attempt ends with a receipt or with an error whose class says
// what may help.
//
// Its promises, under a lease whose fence the destination and the catalog
// know:
//
//   - the same run sends the same bytes in the same order, each time;
//   - commit is asked for only after the prepared receipt agreed with what was
//     sent;
//   - the pipeline's cursor moves in the transaction that records the receipt;
//   - an answer that was lost is asked about, never guessed.
package export
