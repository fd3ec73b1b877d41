// Package host is the export host: it composes sources, journal, pipelines
// and destination plugins out of a configuration, runs them, and answers what
// commands ask of them.
//
// It is the sole door for cmd: everything below host/internal is reached
// through it. It holds no logic of its own beyond composition and the order in
// which things start and stop.
//
// A Host owns its data directory: it holds the directory's lock from Open to
// Close, and a second one is refused. Operate gives commands either a Host of
// their own or the one that is running already.
package host
