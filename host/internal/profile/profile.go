package profile

import (
	"bytes"
	"errors"
	"slices"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Limits of a profile.
const (
	MaxProperties = 2000      // in addition to $last_seen
	MaxComposite  = 256 << 10 // bytes of a property that is a list or an object
	MaxProfile    = 4 << 20   // bytes of the row; the room of $last_seen is always left
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

// The texts between the parts of a row.
const (
	rowID         = `{"distinct_id":"`
	rowProperties = `","properties":{`
	rowEnd        = "}}\n"
)

// memberRoom is how many bytes a member of an object has in addition to its name
// and value: quotes, colon, comma.
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

// find returns where a property is, or would be.
func (p *profile) find(name []byte) (int, bool) {
	return slices.BinarySearchFunc(p.properties, name, func(q property, name []byte) int { return bytes.Compare(q.name, name) })
}

func (p *profile) refuse(reason schema.Reason) { p.refused[reason]++ }

// size is the length of the row, with the least room of $last_seen.
func (p *profile) size() int {
	n := len(rowID) + len(p.id) + len(rowProperties) + p.members + len(rowEnd)
	if i, ok := p.find([]byte(lastSeen)); ok {
		return n + max(0, lastSeenSize-p.properties[i].size())
	}
	return n + lastSeenSize
}

// fits reports whether the profile may become a number of bytes longer.
func (p *profile) fits(more int) bool {
	// The size of $last_seen is looked at only where it matters.
	if len(rowID)+len(p.id)+len(rowProperties)+p.members+len(rowEnd)+lastSeenSize+more <= MaxProfile {
		return true
	}
	return more <= 0 || p.size()+more <= MaxProfile
}

// count is the number of properties, without $last_seen.
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

// compact moves the bytes in use to the spare arena, and makes room.
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
