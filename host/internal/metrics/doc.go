// Package metrics shows the numbers of a host in Prometheus' text format.
//
// The numbers are collected when they are asked for; the package keeps none. Labels are
// names of the configuration, and outcomes and reasons of which there are a few dozen: no
// label is taken from a record or a client. It is the only importer of client_golang.
package metrics
