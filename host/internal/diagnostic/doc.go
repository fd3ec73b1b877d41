// Package diagnostic renders what is wrong with a configuration for whoever
// wrote it: file, line and column, the line itself with the place marked, what
// is wrong and what would be right.
//
// It makes no diagnostics and decides nothing but their order. A diagnostic
// has two ranges: the subject is what is wrong and gets the mark, the context
// is what a reader needs around it. The lines come out of Sources, in which
// secrets are masked, so that no secret is shown.
package diagnostic
