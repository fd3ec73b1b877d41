// Package freeport finds ports for servers of tests that must know their port
// before they listen, or listen on it again after a restart.
//
// A port that the kernel has chosen, and that was closed since, may be given to
// any process that listens on port 0 or connects to somewhere. Ports of this
// package lie below the range from which the kernel chooses.
//
// It reserves nothing: another process that asks for the same port by number gets
// it. Two callers that choose among thousands of ports at random rarely meet.
package freeport
