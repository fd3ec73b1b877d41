// Package ingest turns pieces of input into rows and hands them to the journal
// in order.
//
// It knows neither files nor days: a Source gives it pieces of whole records
// with the cursor that stands behind them, parsers work on several pieces at
// once, and the pieces' rows reach the Appender in the order in which the
// Source gave them, each with its cursor. If a piece has many rows of one day, its
// parser compresses them, as a journal.Fragment, before it takes the next piece.
// Refused records reach Rejects before the cursor passes them. Memory is bounded by
// the pieces in flight.
package ingest
