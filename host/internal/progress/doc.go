// Package progress is how long work tells of itself: as Reports to an Observer.
//
// It knows no other package of the host. An Observer is called from any goroutine
// and must not block.
package progress
