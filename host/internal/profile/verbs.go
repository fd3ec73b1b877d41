package profile

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// apply applies an operation.
func (p *profile) apply(o schema.OperationRow) error {
	ok := true
	switch o.Verb {
	case schema.Delete:
		p.clear()
		return nil
	case schema.Unset:
		ok = schema.Elements(o.Value, func(name []byte) bool {
			p.unset(plainName(name[1 : len(name)-1]))
			return true
		})
	case schema.Remove:
		ok = schema.Members(o.Value, func(name, value []byte) bool {
			p.remove(plainName(name), value)
			return true
		})
	default:
		change := p.change(o.Verb)
		if change == nil {
			return fmt.Errorf("operation %q is not known", o.Verb)
		}
		p.exists = true
		ok = schema.Members(o.Value, func(name, value []byte) bool {
			change(plainName(name), value)
			return true
		})
	}
	if !ok {
		return fmt.Errorf("the value of %s is not what it should be", o.Verb)
	}
	if p.exists && o.LastSeen {
		p.see(o.Time)
	}
	return nil
}

// change returns the effect of a verb on a member of its value.
func (p *profile) change(v schema.Verb) func(name, value []byte) {
	switch v {
	case schema.Set:
		return p.set
	case schema.SetOnce:
		return p.setOnce
	case schema.Add:
		return p.add
	case schema.Append:
		return p.push
	case schema.Union:
		return p.union
	default:
		return nil
	}
}

// set sets a property.
func (p *profile) set(name, value []byte) {
	if (value[0] == '[' || value[0] == '{') && len(value) > MaxComposite {
		p.refuse(PropertyTooLarge)
		return
	}
	i, ok := p.find(name)
	before := 0
	if ok {
		before = p.properties[i].size()
	} else if string(name) != lastSeen && p.count() >= MaxProperties {
		p.refuse(TooManyProperties)
		return
	}
	size := len(name) + len(value) + memberRoom
	more := size - before
	if string(name) == lastSeen {
		// Its room is counted already.
		more = max(size, lastSeenSize) - max(before, lastSeenSize)
	}
	if !p.fits(more) {
		p.refuse(ProfileTooLarge)
		return
	}
	p.put(i, ok, name, value)
}

func (p *profile) setOnce(name, value []byte) {
	if _, ok := p.find(name); !ok {
		p.set(name, value)
	}
}

func (p *profile) add(name, value []byte) {
	before := []byte("0")
	if i, ok := p.find(name); ok {
		if p.properties[i].list != nil || !isNumber(p.properties[i].value) {
			p.refuse(NotANumber)
			return
		}
		before = p.properties[i].value
	}
	sum, ok := add(p.scratch[:0], before, value)
	p.scratch = sum
	if !ok {
		p.refuse(NumberOutOfRange)
		return
	}
	p.set(name, sum)
}

func isNumber(value []byte) bool { return value[0] == '-' || value[0]-'0' <= 9 }

// push is $append.
func (p *profile) push(name, value []byte) {
	l, i := p.list(name)
	if l == nil {
		p.scratch = append(append(append(p.scratch[:0], '['), value...), ']')
		p.set(name, p.scratch)
		return
	}
	before := l.size()
	after := listSize(l.count+1, l.bytes+len(value))
	switch {
	case after > MaxComposite:
		p.refuse(PropertyTooLarge)
	case !p.fitsAt(i, after-before):
		p.refuse(ProfileTooLarge)
	default:
		l.push(value)
		p.elements++
		p.members += after - before
	}
}

// fitsAt is fits for the property at i.
func (p *profile) fitsAt(i, more int) bool {
	if string(p.properties[i].name) == lastSeen {
		before := p.properties[i].size()
		more = max(before+more, lastSeenSize) - max(before, lastSeenSize)
	}
	return p.fits(more)
}

// union adds the elements of a list that are not there. A list that would
// become too large stays as it is.
func (p *profile) union(name, value []byte) {
	l, i := p.list(name)
	fresh := l == nil
	if fresh {
		l = &list{}
	}
	before, n := l.size(), len(l.elements)
	schema.Elements(value, func(element []byte) bool {
		p.scratch = appendMeaning(p.scratch[:0], element)
		if !l.has(p.scratch) {
			l.push(element)
		}
		return true
	})
	if fresh {
		p.scratch = l.append(p.scratch[:0])
		p.set(name, p.scratch)
		return
	}
	after := l.size()
	switch {
	case after > before && after > MaxComposite:
		l.pop(n)
		p.refuse(PropertyTooLarge)
	case !p.fitsAt(i, after-before):
		l.pop(n)
		p.refuse(ProfileTooLarge)
	default:
		p.elements += len(l.elements) - n
		p.members += after - before
	}
}

// remove is $remove.
func (p *profile) remove(name, value []byte) {
	l, _ := p.list(name)
	if l == nil {
		return
	}
	before, n := l.size(), len(l.elements)
	p.scratch = appendMeaning(p.scratch[:0], value)
	l.remove(p.scratch)
	p.members += l.size() - before
	p.elements += len(l.elements) - n
}

func (p *profile) unset(name []byte) {
	i, ok := p.find(name)
	if !ok {
		return
	}
	p.drop(i)
	p.properties = slices.Delete(p.properties, i, i+1)
}

// maxElements is how many elements of lists are held taken apart: they take
// more memory than their text.
const maxElements = 1 << 18

// list returns the list of a property, taken apart, or nil where the property
// is not a list.
func (p *profile) list(name []byte) (*list, int) {
	i, ok := p.find(name)
	if !ok {
		return nil, i
	}
	if p.properties[i].list != nil {
		return p.properties[i].list, i
	}
	if p.properties[i].value[0] != '[' {
		return nil, i
	}
	if p.elements > maxElements {
		p.join()
	}
	l, ok := newList(p.properties[i].value)
	if !ok {
		return nil, i
	}
	p.elements += len(l.elements)
	p.properties[i].list, p.properties[i].value = l, nil
	return l, i
}

// join puts all lists together again.
func (p *profile) join() {
	for i := range p.properties {
		if l := p.properties[i].list; l != nil {
			text := p.keep(l.append(nil))
			p.properties[i].value, p.properties[i].list = text, nil
		}
	}
	p.elements = 0
}

// see moves $last_seen forward to a time, in milliseconds. A value that is not
// such a time is replaced.
func (p *profile) see(milliseconds int64) {
	var text [len(lastSeenFormat)]byte
	stamp := time.UnixMilli(milliseconds).UTC().AppendFormat(text[:0], lastSeenFormat)
	i, ok := p.find([]byte(lastSeen))
	if ok && p.properties[i].list == nil && !before(p.properties[i].value, stamp) {
		return
	}
	p.put(i, ok, []byte(lastSeen), stamp)
}

// before reports whether a value of $last_seen is not a time, or is an earlier one.
func before(value, stamp []byte) bool {
	if len(value) != len(stamp) || bytes.Compare(value, stamp) < 0 {
		return true
	}
	_, err := time.Parse(lastSeenFormat, string(value))
	return err != nil
}
