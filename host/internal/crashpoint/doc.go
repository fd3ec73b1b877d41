// Package crashpoint lets tests end or stop the process at named places. In
// ordinary builds Here does nothing and costs nothing.
//
// Built with the tag crashpoints, the environment says where:
//
//	PENSTOCK_CRASH_AT=journal.segment      SIGKILL at the first passage
//	PENSTOCK_CRASH_AT=export.streaming:9   SIGKILL at the ninth
//	PENSTOCK_STOP_AT=…                     SIGSTOP instead
package crashpoint
