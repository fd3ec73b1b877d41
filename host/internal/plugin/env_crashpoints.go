//go:build crashpoints

package plugin

import "os"

// testNames reach the plugins of a build that kills itself at named points.
var testNames = []string{"PENSTOCK_CRASH_AT", "PENSTOCK_STOP_AT", "PENSTOCK_OBJECT_LIMIT"}

// payloadsOnly has payloads sent to plugins that could read them from the journal.
var payloadsOnly = os.Getenv("PENSTOCK_PAYLOADS_ONLY") != ""
