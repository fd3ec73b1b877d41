// Package lifecycle has the parts that everything long-lived in the host starts,
// waits and stops with: Group runs goroutines that end together, Gate is a mutex
// that a context can leave, Backoff gives the pauses between attempts, and Grace is
// the time that a host has to stop.
//
// It knows no other package of the host. It promises that a goroutine of a Group
// has ended when Wait returns, and that a Gate's Enter returns once its context is
// done.
package lifecycle
