package profile

import (
	"bytes"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// list is a list property taken apart: elements are added, found and removed
// without a look at the others.
type list struct {
	text     []byte // elements, one behind the other
	elements []element
	count    int              // elements that are not removed
	bytes    int              // their length
	last     map[string]int32 // by meaning, the last element; nil until it is needed
}

// element is a part of list.text. previous is the element before it that means
// the same, or -1; it is known where list.last is.
type element struct {
	from, to int32
	previous int32
	removed  bool
}

// newList takes a JSON list apart, which is copied.
func newList(value []byte) (*list, bool) {
	l := &list{}
	ok := schema.Elements(value, func(element []byte) bool {
		l.push(element)
		return true
	})
	return l, ok
}

// size is the length of the list as JSON.
func (l *list) size() int { return listSize(l.count, l.bytes) }

func listSize(count, bytes int) int { return 2 + bytes + max(0, count-1) }

// push adds an element at the end.
func (l *list) push(value []byte) {
	e := element{from: int32(len(l.text)), to: int32(len(l.text) + len(value)), previous: -1}
	l.text = append(l.text, value...)
	l.elements = append(l.elements, e)
	l.count++
	l.bytes += len(value)
	if l.last != nil {
		l.know(int32(len(l.elements) - 1))
	}
}

// know enters an element into l.last.
func (l *list) know(i int32) {
	e := &l.elements[i]
	meaning := string(appendMeaning(nil, l.text[e.from:e.to]))
	e.previous = -1
	if previous, ok := l.last[meaning]; ok {
		e.previous = previous
	}
	l.last[meaning] = i
}

// has reports whether an element has this meaning.
func (l *list) has(meaning []byte) bool {
	if l.last == nil {
		l.last = make(map[string]int32, len(l.elements))
		for i := range l.elements {
			if !l.elements[i].removed {
				l.know(int32(i))
			}
		}
	}
	_, ok := l.last[string(meaning)]
	return ok
}

// remove removes all elements that mean this.
func (l *list) remove(meaning []byte) {
	if !l.has(meaning) {
		return
	}
	for i := l.last[string(meaning)]; i >= 0; i = l.elements[i].previous {
		l.drop(i)
	}
	delete(l.last, string(meaning))
	if len(l.elements) > 2*l.count+64 || len(l.text) > 2*l.bytes+64<<10 {
		l.tidy()
	}
}

func (l *list) drop(i int32) {
	e := &l.elements[i]
	e.removed = true
	l.count--
	l.bytes -= int(e.to - e.from)
}

// pop removes the last elements, which are not removed, down to n of all.
func (l *list) pop(n int) {
	for i := len(l.elements) - 1; i >= n; i-- {
		e := l.elements[i]
		l.drop(int32(i))
		meaning := string(appendMeaning(nil, l.text[e.from:e.to]))
		switch {
		case l.last == nil:
		case e.previous >= 0:
			l.last[meaning] = e.previous
		default:
			delete(l.last, meaning)
		}
		l.elements, l.text = l.elements[:i], l.text[:e.from]
	}
}

// tidy forgets removed elements.
func (l *list) tidy() {
	old := *l
	*l = list{text: make([]byte, 0, old.bytes), elements: make([]element, 0, old.count), last: make(map[string]int32, old.count)}
	for _, e := range old.elements {
		if !e.removed {
			l.push(old.text[e.from:e.to])
		}
	}
}

// append appends the list as JSON.
func (l *list) append(dst []byte) []byte {
	dst = append(dst, '[')
	for _, e := range l.elements {
		if !e.removed {
			dst = append(append(dst, l.text[e.from:e.to]...), ',')
		}
	}
	return append(bytes.TrimSuffix(dst, []byte{','}), ']')
}
