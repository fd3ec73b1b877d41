package quarantine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Count counts the records of a source that were refused for one reason.
type Count struct {
	Entries   int64 `json:"entries,omitempty"`   // in files
	Truncated int64 `json:"truncated,omitempty"` // of Entries: only the beginning of the record is kept
	Counted   int64 `json:"counted,omitempty"`   // beyond a cap: nothing of the record is kept
}

// Total is the number of records that were refused and not replayed or dropped
// since.
func (c Count) Total() int64 { return c.Entries + c.Counted }

// Plus adds counts.
func (c Count) Plus(o Count) Count {
	return Count{c.Entries + o.Entries, c.Truncated + o.Truncated, c.Counted + o.Counted}
}

func (c Count) negative() Count { return Count{-c.Entries, -c.Truncated, -c.Counted} }

// positive replaces negative numbers by zero.
func (c Count) positive() Count {
	return Count{max(c.Entries, 0), max(c.Truncated, 0), max(c.Counted, 0)}
}

// counts are Counts by reason. Those of zero are left out.
type counts map[string]Count

func (c counts) add(reason string, n Count) {
	if c[reason] = c[reason].Plus(n); c[reason] == (Count{}) {
		delete(c, reason)
	}
}

func (c counts) addAll(o counts) {
	for reason, n := range o {
		c.add(reason, n)
	}
}

// minus returns c without o; numbers may be negative.
func (c counts) minus(o counts) counts {
	difference := maps.Clone(c)
	if difference == nil {
		difference = counts{}
	}
	for reason, n := range o {
		difference.add(reason, n.negative())
	}
	return difference
}

// positive returns the positive numbers of c.
func (c counts) positive() counts {
	some := counts{}
	for reason, n := range c {
		some.add(reason, n.positive())
	}
	return some
}

// String lists numbers of records by reason.
func (c counts) String() string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%d %s", c[reason].Total(), reason))
	}
	return strings.Join(parts, ", ")
}
