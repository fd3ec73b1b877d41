// Package config reads HCL configuration into typed values, and says every
// mistake at once.
//
// It starts nothing and asks no service. The body of a destination block is
// read with the schema that the plugin described, which the caller provides;
// what comes out of it are constants, as JSON, so that a plugin never sees
// HCL. Mistakes are diagnostics with a place, never Go errors; a secret is in
// none of them.
package config
