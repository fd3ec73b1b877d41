// Package api serves a running host's operations as HTTP on a unix socket
// inside the data directory, and is the client of it.
//
// Routes has a path for each operation of package operation, and Remote is a client that
// implements the same operations; neither carries one out. The socket is 0600 in a 0700 directory; a process that can open it owns the data
// already, so requests carry no credential. Nothing listens on the network.
package api
