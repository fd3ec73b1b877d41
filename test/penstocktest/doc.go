// Package penstocktest runs penstock as people run it, for tests: real
// processes, real plugins, real files.
//
// A test package builds the binaries once, in its TestMain, and each test makes
// a Site of its own. Tests read exports with the standard library, so that no
// code of the product vouches for itself.
package penstocktest
