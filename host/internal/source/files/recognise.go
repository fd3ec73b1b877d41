package files

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
)

// retired begins the positions of cursors whose content is not known under any
// path: another file has taken the path.
const retired = "retired:"

// retiredAs is the position of the cursor of an edition of a path.
func retiredAs(path string, edition int) string {
	return retired + path + "#" + strconv.Itoa(edition)
}

// IsFile reports whether a cursor's position is a file, and not content that
// another file has replaced.
func IsFile(position string) bool { return !strings.HasPrefix(position, retired) }

// origin returns the name and the edition of the content of a cursor.
func origin(position string, c cursor) ingest.Origin {
	path := strings.TrimSuffix(strings.TrimPrefix(position, retired), "#"+strconv.Itoa(c.Edition))
	if IsFile(position) {
		path = position
	}
	return ingest.Origin{File: path, Edition: c.Edition}
}

// start is the beginning of some content.
type start struct {
	size int
	sum  string
}

// setCursor notes how far a position is read, and where its content is found by
// its beginning.
func (s *Source) setCursor(position string, c cursor) {
	s.cursors[position] = c.encode()
	if c.Sum == "" || c.StartSize == 0 {
		return
	}
	key := start{c.StartSize, c.Start}
	if !slices.Contains(s.starts[key], position) {
		s.starts[key] = append(s.starts[key], position)
		s.sizes[c.StartSize] = true
	}
}

// isRetired reports whether content needs no cursor of its own when another file
// takes its path: a retired cursor of the same content never moves, or nothing of
// it was read. So a chain of rotated files (a.1, a.2, a.3) leaves one retired cursor
// for each content, and not one for each name that it had.
func (s *Source) isRetired(c cursor) bool {
	if c.StartSize == 0 || c.Sum == "" {
		return true
	}
	for _, position := range s.starts[start{c.StartSize, c.Start}] {
		if IsFile(position) {
			continue
		}
		if known, err := decodeCursor(s.cursors[position]); err == nil && known.Offset == c.Offset && known.Sum == c.Sum {
			return true
		}
	}
	return false
}

// copyTime is how long a file that is a part of known content may be a copy that
// is being made.
const copyTime = time.Minute

// errWaits says that a file is looked at again later.
var errWaits = errors.New("the file may be an unfinished copy of one that was read")

// recognise looks for content that was read under another name, or before this
// file was compressed: the longest that the file begins with. It returns nil if
// there is none.
func (s *Source) recognise(ctx context.Context, e entry) (*cursor, error) {
	if len(s.starts) == 0 {
		return nil, nil
	}
	r, err := s.openStored(ctx, e)
	if err != nil {
		return nil, err
	}
	found, err := s.match(r)
	if r.stored.failed() != nil {
		err = r.stored.failed()
	}
	return found, errors.Join(err, r.close())
}

func (s *Source) match(r *reader) (*cursor, error) {
	if r.ended != nil {
		return nil, nil
	}
	head := make([]byte, maxHead)
	n, err := io.ReadFull(r.content, head)
	short := err != nil
	candidates, err := s.candidates(head[:n], r.entry.path)
	if len(candidates) == 0 || err != nil {
		return nil, err
	}
	at, left := int64(0), head[:n]
	var found *cursor
	for _, c := range candidates {
		k := min(int64(len(left)), c.Offset-at)
		r.note(left[:k])
		left, at = left[k:], at+k
		if at < c.Offset && (short || r.pass(c.Offset-at) != nil) {
			// It is shorter than the known content.
			if s.o.Keep && found == nil && r.entry.age(s.o.Now()) < copyTime {
				return nil, errWaits
			}
			break
		}
		at = c.Offset
		if r.digest.sum() != c.Sum {
			continue
		}
		if found == nil || found.Offset < c.Offset {
			found = &cursor{}
			*found = c.cursor
			found.Origins = nil
		}
		found.Origins = append(found.Origins, c.Origins...)
		if !c.endsWhole() {
			found.Origins = append(found.Origins, origin(c.position, c.cursor))
		}
	}
	if found != nil {
		found.Origins = distinct(found.Origins)
	}
	return found, nil
}

// distinct returns the origins without repeated ones, in order. Copies of a file have each
// other's origins: with their repetitions the cursor of each copy would be twice as long as
// that of the one before.
func distinct(origins []ingest.Origin) []ingest.Origin {
	slices.SortFunc(origins, func(a, b ingest.Origin) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Edition-b.Edition)
	})
	return slices.Compact(origins)
}

// candidate is a cursor whose content may be that of a file.
type candidate struct {
	position string
	cursor
}

// candidates returns the cursors whose content begins as head does, by growing
// offset, and by position where that is the same.
func (s *Source) candidates(head []byte, path string) ([]candidate, error) {
	var all []candidate
	for size := range s.sizes {
		if size > len(head) {
			continue
		}
		key := start{size, sum(head[:size])}
		for _, position := range s.starts[key] {
			c, err := decodeCursor(s.cursors[position])
			if err != nil {
				return nil, err
			}
			if position != path && c.Start == key.sum && c.StartSize == size {
				all = append(all, candidate{position, c})
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), strings.Compare(a.position, b.position))
	})
	return all, nil
}
