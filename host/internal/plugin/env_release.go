//go:build !crashpoints

package plugin

var testNames []string

// payloadsOnly is set in tests only.
const payloadsOnly = false
