// Package diagnostic renders the mistakes in a configuration for its author:
// file, line and column, the line itself with the place marked, the mistake and
// its correction.
//
// It makes no diagnostics and decides nothing but their order. A diagnostic
// has two ranges: the subject is the mistake and gets the mark, the context is
// the block around it. The lines come out of Sources, in which secrets are
// masked.
package diagnostic
