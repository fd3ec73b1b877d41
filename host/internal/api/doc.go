// Package api serves a running host's operations as HTTP on a unix socket
// inside the data directory, and is the client of it.
//
// It does not know the operations: the host registers them by path. The
// socket is 0600 in a 0700 directory; a process that can open it owns the data
// already, so requests carry no credential. Nothing listens on the network.
package api
