package profile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Limits of a profile.
const (
	MaxProperties = 2000      // beside $last_seen
	MaxComposite  = 256 << 10 // bytes of a property that is a list or an object
	MaxProfile    = 4 << 20   // bytes of the row; what $last_seen takes is always left
)

// Reasons why an operation's change of one property is not applied.
const (
	TooManyProperties schema.Reason = "too_many_properties"
	PropertyTooLarge  schema.Reason = "property_too_large"
	ProfileTooLarge   schema.Reason = "profile_too_large"
	NotANumber        schema.Reason = "not_a_number"        // $add to something else
	NumberOutOfRange  schema.Reason = "number_out_of_range" // $add, see add
)

// lastSeen is the property that operations with LastSeen move.
const lastSeen = "$last_seen"

// lastSeenFormat is its value, in UTC.
const lastSeenFormat = `"2006-01-02T15:04:05"`

// What stands between the parts of a row.
const (
	rowID         = `{"distinct_id":"`
	rowProperties = `","properties":{`
	rowEnd        = "}}\n"
)

// memberRoom is what a member of an object has beside its name and value:
// quotes, colon, comma.
const memberRoom = 4

const lastSeenSize = len(lastSeen) + len(lastSeenFormat) + memberRoom

// property is one of a profile. Its value is in list where that is set.
type property struct {
	name, value []byte
	list        *list
}

func (p *property) size() int {
	if p.list != nil {
		return len(p.name) + p.list.size() + memberRoom
	}
	return len(p.name) + len(p.value) + memberRoom
}

// profile is one that operations are applied to. It keeps its memory for the
// next one. Names and values are parts of arena, or of the row it was read
// from.
type profile struct {
	id         []byte
	exists     bool
	properties []property // by name
	members    int        // their sizes
	arena      []byte
	spare      []byte // memory for the next arena
	elements   int    // of lists that were taken apart
	scratch    []byte

	refused Refused
}

func newProfile(refused Refused) *profile { return &profile{refused: refused} }

// keptArena is how much memory is kept from one profile to the next.
const keptArena = 1 << 20

// begin begins with a profile that does not exist.
func (p *profile) begin(id []byte) {
	p.id = id
	p.clear()
}

func (p *profile) clear() {
	p.exists = false
	clear(p.properties)
	p.properties, p.members, p.elements = p.properties[:0], 0, 0
	p.arena = p.arena[:0]
	if cap(p.arena) > keptArena {
		p.arena = nil
	}
	if cap(p.spare) > keptArena {
		p.spare = nil
	}
}

var errNotARow = errors.New("it is not as rows of profiles are written")

// splitRow takes a row apart.
func splitRow(row []byte) (id, properties []byte, err error) {
	rest, ok := bytes.CutPrefix(row, []byte(rowID))
	if !ok {
		return nil, nil, errNotARow
	}
	end := schema.SkipValue(row, len(rowID)-1)
	if end < 0 {
		return nil, nil, errNotARow
	}
	id = rest[:end-1-len(rowID)]
	rest = row[end-1:]
	if !bytes.HasPrefix(rest, []byte(rowProperties)) || !bytes.HasSuffix(rest, []byte(rowEnd)) || len(rest) < len(rowProperties)+len(rowEnd) {
		return nil, nil, errNotARow
	}
	return id, rest[len(rowProperties)-1 : len(rest)-2], nil
}

// read begins with the profile of a row, which must not change until the next
// profile begins.
func (p *profile) read(row []byte) error {
	id, properties, err := splitRow(row)
	if err != nil {
		return err
	}
	p.begin(id)
	p.exists = true
	sorted := true
	ok := schema.Members(properties, func(name, value []byte) bool {
		if n := len(p.properties); n > 0 && bytes.Compare(p.properties[n-1].name, name) >= 0 {
			sorted = false
		}
		p.properties = append(p.properties, property{name: name, value: value})
		p.members += len(name) + len(value) + memberRoom
		return sorted
	})
	if !ok || !sorted {
		return errNotARow
	}
	return nil
}

// append appends the profile's row.
func (p *profile) append(dst []byte) []byte {
	dst = append(dst, rowID...)
	dst = append(dst, p.id...)
	dst = append(dst, rowProperties...)
	for i := range p.properties {
		if i > 0 {
			dst = append(dst, ',')
		}
		q := &p.properties[i]
		dst = append(dst, '"')
		dst = append(dst, q.name...)
		dst = append(dst, `":`...)
		if q.list != nil {
			dst = q.list.append(dst)
		} else {
			dst = append(dst, q.value...)
		}
	}
	return append(dst, rowEnd...)
}

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

// change is what a verb does with a member of its value.
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

// find returns where a property is, or would be.
func (p *profile) find(name []byte) (int, bool) {
	return slices.BinarySearchFunc(p.properties, name, func(q property, name []byte) int { return bytes.Compare(q.name, name) })
}

func (p *profile) refuse(reason schema.Reason) { p.refused[reason]++ }

// size is the length of the row, with what $last_seen takes at least.
func (p *profile) size() int {
	n := len(rowID) + len(p.id) + len(rowProperties) + p.members + len(rowEnd)
	if i, ok := p.find([]byte(lastSeen)); ok {
		return n + max(0, lastSeenSize-p.properties[i].size())
	}
	return n + lastSeenSize
}

// fits says whether the profile may become a number of bytes longer.
func (p *profile) fits(more int) bool {
	// What $last_seen takes is looked at only where it matters.
	if len(rowID)+len(p.id)+len(rowProperties)+p.members+len(rowEnd)+lastSeenSize+more <= MaxProfile {
		return true
	}
	return more <= 0 || p.size()+more <= MaxProfile
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

// count is how many properties there are beside $last_seen.
func (p *profile) count() int {
	if len(p.properties) < MaxProperties {
		return len(p.properties)
	}
	if _, ok := p.find([]byte(lastSeen)); ok {
		return len(p.properties) - 1
	}
	return len(p.properties)
}

// put sets the property at i, which is there or is to be.
func (p *profile) put(i int, there bool, name, value []byte) {
	// Whatever is replaced is not copied when memory gets short.
	if there {
		p.drop(i)
	} else {
		p.properties = slices.Insert(p.properties, i, property{})
		p.properties[i].name = p.keep(name)
	}
	p.properties[i].value = p.keep(value)
	p.members += p.properties[i].size()
}

// drop takes the value from the property at i.
func (p *profile) drop(i int) {
	q := &p.properties[i]
	p.members -= q.size()
	if q.list != nil {
		p.elements -= len(q.list.elements)
	}
	q.value, q.list = nil, nil
}

// keep copies bytes into the arena.
func (p *profile) keep(b []byte) []byte {
	if len(p.arena)+len(b) > cap(p.arena) {
		p.compact(len(b))
	}
	from := len(p.arena)
	p.arena = append(p.arena, b...)
	return p.arena[from:len(p.arena):len(p.arena)]
}

// compact moves to the spare arena what is still in use, and makes room.
func (p *profile) compact(room int) {
	live := room
	for i := range p.properties {
		live += len(p.properties[i].name) + len(p.properties[i].value)
	}
	next := p.spare[:0]
	if cap(next) < 2*live {
		next = make([]byte, 0, max(2*live, 4<<10))
	}
	for i := range p.properties {
		q := &p.properties[i]
		from := len(next)
		next = append(next, q.name...)
		q.name = next[from:len(next):len(next)]
		from = len(next)
		next = append(next, q.value...)
		q.value = next[from:len(next):len(next)]
	}
	p.arena, p.spare = next, p.arena
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
// is none.
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

// see moves $last_seen forward to a time, in milliseconds. A value that is no
// such time is replaced.
func (p *profile) see(milliseconds int64) {
	var text [len(lastSeenFormat)]byte
	stamp := time.UnixMilli(milliseconds).UTC().AppendFormat(text[:0], lastSeenFormat)
	i, ok := p.find([]byte(lastSeen))
	if ok && p.properties[i].list == nil && !before(p.properties[i].value, stamp) {
		return
	}
	p.put(i, ok, []byte(lastSeen), stamp)
}

// before says whether a value of $last_seen is no time, or one before another.
func before(value, stamp []byte) bool {
	if len(value) != len(stamp) || bytes.Compare(value, stamp) < 0 {
		return true
	}
	_, err := time.Parse(lastSeenFormat, string(value))
	return err != nil
}
