// Package scheduler decides when the work of a host that comes due again and again is
// started: the iterations of pipelines.
//
// It knows neither pipelines nor catalogs: a Task tells when it is due next, and runs.
// All tasks wait in one heap for one timer, and a task is only looked at when it has
// run, or when Wake says that its time may have changed. A host whose pipelines are all
// idle does nothing but look at the wall clock once in a while, because the clock may
// be set.
//
// Promises: a task never runs twice at once; the next run begins after the one before
// has ended; a task that is due and cannot start at once, because too many of its group
// run, starts in the order in which tasks became due; Serve returns when no task runs
// any more.
package scheduler
