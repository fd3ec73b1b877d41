// Package diagnostic renders what is wrong with a configuration for whoever
// wrote it: file, line and column, the line itself with the place marked, what
// is wrong and what would be right.
//
// It makes no diagnostics and decides nothing. The line is left out where a
// secret could stand on it, and the values of variables are never shown.
package diagnostic
