// Package listener limits the connections that a server serves at a time, so
// that one address does not use them up.
//
// Connections beyond the limits are accepted and wait; beyond as many waiting
// ones they are closed. Behind a proxy all connections have the proxy's address
// and share its limit.
package listener
