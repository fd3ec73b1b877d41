package protocol

import (
	"errors"
	"sync/atomic"
)

// extentWindow is how many bytes of extents may be on their way before the host waits.
// It is that of payloads, so that pauses, rates and progress mean the same for both.
const extentWindow = streamWindow

// TakenEvery is the number of bytes of extents after which a plugin sends Taken at
// the latest. It is less than extentWindow, so that a host that waits is answered.
const TakenEvery = 1 << 20

// credit counts the bytes of extents that a plugin has not taken yet. One goroutine
// sends, another one receives.
//
//	sent 3 MiB   room: 3 of 4 MiB are on their way
//	sent 3 MiB   no room: 6 MiB
//	taken 3 MiB  room again
type credit struct {
	ahead   *atomic.Int64
	changed chan struct{} // has a value after taken
}

func newCredit() credit { return credit{ahead: new(atomic.Int64), changed: make(chan struct{}, 1)} }

// room reports whether another extent may be sent, whatever its length.
func (c credit) room() bool { return c.ahead.Load() < extentWindow }

func (c credit) sent(bytes int) { c.ahead.Add(int64(bytes)) }

// taken refuses more bytes than were sent.
func (c credit) taken(bytes uint64) error {
	if bytes > uint64(c.ahead.Load()) {
		return &Error{Class: Permanent, Err: errors.New("the plugin has taken more bytes of extents than were sent")}
	}
	c.ahead.Add(-int64(bytes))
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}
