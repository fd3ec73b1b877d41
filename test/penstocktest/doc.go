// Package penstocktest runs penstock as people run it, for tests: real
// processes, real plugins, real files.
//
// A test package builds the binaries once, in its TestMain, and each test makes
// a Site of its own. What a test reads back it reads with the standard library,
// so that no code of ours vouches for itself.
package penstocktest
