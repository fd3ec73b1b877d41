// Package crashpoint names the instants at which tests kill or freeze a
// plugin. It does nothing unless the plugin was built with the tag
// crashpoints.
//
// With it, PENSTOCK_CRASH_AT=name or name:N has the process kill itself at the
// N-th passage of that point (the first without N), and PENSTOCK_STOP_AT has
// it stop, as SIGSTOP does, until someone continues it.
package crashpoint
