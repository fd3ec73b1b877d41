package plugin

import (
	"os"
	"sync"
	"time"
)

// identity tells a file's content from any other that the file had: a change of
// the content moves the time of the inode's change, which only the kernel sets.
type identity struct {
	device, inode uint64
	size          int64
	modified      time.Time
	changed       time.Time // ctime
}

// settled is how long a file must have been as it is before its checksum is
// remembered: a change within one tick of the kernel's clock would not be seen.
const settled = 2 * time.Second

// sums remembers the checksums of binaries, so that a plugin that is started again
// need not be read again. It may be used concurrently.
type sums struct {
	mu    sync.Mutex
	known map[string]knownSum // by path
}

type knownSum struct {
	identity identity
	sum      string
}

// opened are the checksums of the binaries that this process has opened to run them.
// A command that loads a configuration and then starts its plugins, from two
// directories of the same path, reads each binary once.
var opened sums

// get returns the checksum of an open file that is as it was when its checksum
// was remembered; "" when it is not, or when s is nil.
func (s *sums) get(path string, f *os.File) string {
	is, ok := identify(f)
	if s == nil || !ok {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known[path]; k.identity == is {
		return k.sum
	}
	return ""
}

// put remembers the checksum of a file that was read from a time on and did not
// change in the course, unless it had changed shortly before.
func (s *sums) put(path, sum string, is identity, began time.Time) {
	if s == nil || began.Sub(is.changed) < settled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]knownSum{}
	}
	s.known[path] = knownSum{is, sum}
}
