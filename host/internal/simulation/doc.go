// Package simulation lets a host live through half a year in a few seconds, many times
// with many seeds, and compares each destination with the events that were sent.
//
// It holds tests only. A test composes the real catalog, journal, projects, runner,
// scheduler and upkeep as package host does, on a clock that stands still while the host
// works. The destinations are places in memory that keep the law of the run protocol:
// fences, last committed run and content. A seed decides everything: when events,
// operations on profiles and identity links come and for which day, which identity rules
// count, which pipelines are registered, paused, cancelled and adopted, which calls of a
// plugin fail, and where the host is killed.
//
// Promises that are checked, for each seed: an event is at a destination once, in its own
// day, and of the dates of its pipeline; none is missing that no rule leaves out; the
// bytes of a run are the same in each attempt; each attempt has a new fence; iterations
// of a pipeline do not overlap, and none begins before its slot or a second time in it;
// retention removes no event that is young or that a pipeline needs; two pipelines never
// share dates at one place; a pipeline that is paused or over does nothing; each set of
// people and of identity mappings is the one that all changes up to one seal make, by a
// naive model, and that seal is neither before the run was planned nor before the one of
// the set that it replaces.
//
// Each rule, but that of iterations which do not overlap, has a fault: a mistake that is
// planted in a world, and that the world must find with one seed. A fault changes rows of
// the catalog, by a trigger, attributes of the configuration, or answers of a source or a
// plugin; the host is the real one.
//
// A failing seed prints the command that repeats it. The tests are not built with the race
// detector: the world and the host take turns by the clock, which the detector does not
// see, and the rooms have tests of their own for it.
package simulation
