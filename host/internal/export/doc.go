// Package export carries out one run: it reads the run's blocks out of the
// journal, streams them unchanged to the destination plugin, compares the
// plugin's receipt with the rows that were sent, and records the receipt.
//
// It decodes no block, plans nothing (package pipeline does) and retries
// nothing: an attempt ends with a receipt or with an error whose class tells
// the caller how to go on: retry, stop, or ask a person.
//
// Its promises, under a lease whose fence the destination and the catalog
// know:
//
//   - the same run sends the same bytes in the same order, each time;
//   - the commit is requested only after the prepared receipt agreed with the
//     rows that were sent;
//   - the pipeline's cursor moves in the transaction that records the receipt;
//   - if the answer to a commit is lost, the destination's status decides, never
//     a guess.
package export
