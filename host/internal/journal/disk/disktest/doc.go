// Package disktest is a disk in memory for tests: it knows what would survive
// a loss of power, and any step on it can be made to fail, before or after its
// effect.
package disktest
