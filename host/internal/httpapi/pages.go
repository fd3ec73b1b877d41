package httpapi

import (
	"encoding/base64"
	"slices"
	"strings"
)

// defaultLimit is how many items a list has if the request has no limit. The most that a
// request may ask for is in the tag of Paging.Limit.
const defaultLimit = 100

// Paging are the parameters of a list.
type Paging struct {
	Limit  int    `json:"limit,omitempty" max:"1000" default:"100" doc:"How many items are listed, at most."`
	Cursor string `json:"cursor,omitempty" doc:"The next of the answer before: the list continues there. Its text has no meaning, and may be used until the list changes its order."`
}

// limit returns how many items are listed.
func (p Paging) limit() int {
	if p.Limit == 0 {
		return defaultLimit
	}
	return p.Limit
}

// after returns the key in the cursor; "" for none.
func (p Paging) after() (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return "", invalid("cursor is %q, which no answer has returned", p.Cursor)
	}
	return string(key), nil
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T `json:"items"`
	// Next is the cursor of the next part; it is missing after the last one.
	Next string `json:"next,omitempty"`
}

// newPage returns items of a list, of which the next continues after a key; "": none.
func newPage[T any](items []T, next string) *Page[T] {
	return &Page[T]{Items: append([]T{}, items...), Next: base64.RawURLEncoding.EncodeToString([]byte(next))}
}

// paged returns a page of a list that is in memory, in the order of the keys of its
// items, which are unique.
func paged[T any](items []T, p Paging, key func(T) string) (*Page[T], error) {
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	if p.Cursor != "" {
		first := slices.IndexFunc(items, func(x T) bool { return key(x) > after })
		if first < 0 {
			first = len(items)
		}
		items = items[first:]
	}
	if len(items) <= p.limit() {
		return newPage(items, ""), nil
	}
	items = items[:p.limit()]
	return newPage(items, key(items[len(items)-1])), nil
}
