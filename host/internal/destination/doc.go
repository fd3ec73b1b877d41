// Package destination holds the plugins of a configuration's destination blocks, each
// configured once for each project: the targets that they answered, and the refusal
// of a pipeline that a destination cannot take or whose target is taken.
//
// It starts no process itself and exports nothing: package plugin supervises the
// processes, package runner exports. A plugin that hangs keeps no other destination
// waiting.
package destination
