// Package plugin finds, verifies, launches and supervises destination
// plugins. It is the host's only importer of go-plugin.
//
// It is not where runs are carried out: it hands over the bytes and the
// deadlines, and knows neither journal nor pipelines.
//
// Discovery. A Dir is a directory of binaries named
// penstock-destination-<type> and the file plugins.lock, which pins the
// SHA-256 of each. A binary that is not pinned or has changed, and a directory
// or file that others may write, is refused. No file is run to find out its
// type: a binary is first run by the person who pins it.
//
// A Manager guarantees, for each plugin process that it starts:
//
//   - Exactly the bytes that were verified are executed (Linux: through the
//     open file; elsewhere the path is executed right after it was hashed).
//   - The environment holds nothing but the names that env.go lists. Standard
//     input is the null device. The socket lies in a private directory (0700)
//     that is removed when the process has ended; the next host sweeps the
//     directories of a killed host.
//   - It does not outlive the host, not even one that was killed (Linux:
//     parent-death signal; everywhere: the SDK's own watch).
//   - Every call has a deadline. A plugin that does not answer is killed, with
//     its process group, in bounded time, and nothing waits for its pipes
//     without a limit.
//   - Its output is read, in bounded memory, and forwarded to the
//     host's logger with the values of sensitive attributes replaced. The last
//     100 lines are part of the error when it dies.
//   - A process that ended is started again by the next call, after a pause
//     that doubles, until its crash budget is spent.
package plugin
