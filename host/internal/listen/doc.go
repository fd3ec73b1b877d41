// Package listen serves HTTP on a TCP address, as the host's listeners do: with
// limits of time, headers and connections, with a certificate that may be renewed
// or replaced while it is used, and with a guard that logs panics without naming the client.
//
// It knows no endpoint. It limits the connections that a server serves at a time,
// so that one address does not use them up: connections beyond the limits are
// accepted and wait; beyond as many waiting ones they are closed. Behind a proxy
// all connections have the proxy's address and share its limit.
package listen
