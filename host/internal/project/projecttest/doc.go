// Package projecttest has stores, rows and listings for tests of projects and of the
// rooms that use them.
//
// It does not import package project, whose own tests use it as well.
package projecttest
