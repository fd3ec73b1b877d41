// Package config reads HCL configuration into typed values, and says every
// mistake at once.
//
// It starts nothing and asks no service. Every block is described as data
// (blocks.go); a destination's body is read with the schema that its plugin
// described, which the caller provides, and what comes out of it are
// constants, as JSON, so that a plugin never sees HCL. What is described and
// not carried out by this version is read, checked, and refused where it
// stands (unavailable.go), never ignored.
//
// Mistakes are diagnostics with a place, never Go errors. A secret is in none
// of them, nor in what the types of this package print as: values of env and
// file carry a mark while they are evaluated, and the text of the files that
// diagnostics quote has its secrets masked.
package config
