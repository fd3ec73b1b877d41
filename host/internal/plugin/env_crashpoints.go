//go:build crashpoints

package plugin

// testNames reach the plugins of a build that kills itself at named points.
var testNames = []string{"PENSTOCK_CRASH_AT", "PENSTOCK_STOP_AT", "PENSTOCK_OBJECT_LIMIT"}
