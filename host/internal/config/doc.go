// Package config reads HCL configuration into typed values, and reports every
// mistake at once.
//
// It starts nothing and asks no service. Every block is described as data
// (blocks.go). A destination's body is read with the schema of its plugin, which
// the caller provides, into constants as JSON, so that a plugin never sees HCL.
// Blocks, attributes and values that this version does not support are read,
// checked, and refused where they stand (unavailable.go), never ignored.
//
// Mistakes are diagnostics with a place, never Go errors. No secret is in one of
// them, or in the printed form of a type of this package: values of env and file
// carry a mark while they are evaluated, and secrets are masked in the texts that
// diagnostics quote.
package config
