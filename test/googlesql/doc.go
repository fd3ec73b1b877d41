// Package googlesql judges the GoogleSQL that Penstock sends or documents, with the
// parser and analyzer of GoogleSQL: the stand-in for BigQuery translates statements
// itself, and accepts some that BigQuery's analyzer refuses.
//
// PENSTOCK_BIGQUERY_STATEMENTS names the directory where stand-ins left the statements
// of other tests. make test-googlesql runs those tests, and then this package. It is
// a module of its own: the analyzer's first build takes minutes and gigabytes of
// memory.
package googlesql
