package quarantine

import (
	"errors"
	"iter"
	"time"
)

// Filter picks quarantined records. The zero value picks all.
type Filter struct {
	Source string `json:"source,omitempty"` // "" for all
	Reason string `json:"reason,omitempty"`
	ID     string `json:"id,omitempty"`
	Limit  int    `json:"limit,omitempty"` // of a list; 0: 100
	// After is the id of the record after which a list continues; "": it begins.
	After string `json:"after,omitempty"`
	// Before picks records that were refused before a time; zero: all.
	Before time.Time `json:"before,omitzero"`
	// Missing picks lost records instead of those that are there: DropQuarantine
	// then forgets them.
	Missing bool `json:"missing,omitempty"`
}

// Matches reports whether a filter picks an entry.
func (f Filter) Matches(e Entry) bool {
	return (f.Source == "" || f.Source == e.Source) && (f.Reason == "" || f.Reason == e.Reason) && (f.ID == "" || f.ID == e.ID) &&
		(f.Before.IsZero() || e.Time.Before(f.Before))
}

// Matching returns the quarantined records that a filter picks. An id that there is
// none of picks nothing.
func (s *Store) Matching(f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		entries := s.Entries(f.Source)
		if f.ID != "" {
			entries = s.entry(f.ID)
		}
		for e, err := range entries {
			if (err != nil || f.Matches(e)) && !yield(e, err) {
				return
			}
		}
	}
}

// entry yields the record of an id, without looking at any other's file.
func (s *Store) entry(id string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		e, err := s.Get(id)
		var missing *NotFoundError
		if !errors.As(err, &missing) {
			yield(e, err)
		}
	}
}
