// Package batch holds the unit that travels from the host to a destination:
// some rows of one stream and one date, rendered and compressed once.
//
// It is not a codec library: it reads and joins what the host has written,
// and writes nothing of its own.
package batch
