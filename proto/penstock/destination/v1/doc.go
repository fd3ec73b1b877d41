// Package destinationv1 is the protocol between the Penstock host and a
// destination plugin, generated from destination.proto, which says what its
// messages mean. Programs use it through sdk and sdk/protocol.
package destinationv1
