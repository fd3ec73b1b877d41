// Package disktest is a disk in memory for tests. It computes the files that would
// survive a loss of power, and a test can make any step on it fail, before or
// after the step's effect.
package disktest
