//go:build !crashpoints

package plugin

var testNames []string
