package rowflate

import "github.com/penstock-io/penstock/host/internal/rowmark"

// marked takes the members that marks tell of. It returns the place behind the last of
// them; marks that lie outside of the rows, or not one behind the other, end it before.
func (e *Encoder) marked(w *writer, marks []rowmark.Mark, base int) (end int) {
	reached := 0 // by steps, which may take a member behind those that it was asked for
	for k, m := range marks {
		at, to := int(m.At)-base, e.r.n
		if k+1 < len(marks) {
			to = int(marks[k+1].At) - base
		}
		value := at + int(m.Text)
		if at < end || value > to || to > e.r.n {
			break
		}
		end = to
		name := m.Name % rowmark.Names
		switch {
		case at < reached:
		case e.written >= to:
			e.named[name] = e.base + int32(at) // it was copied with an earlier one
		case name == rowmark.Unknown:
			reached = e.steps(w, at, to-len("}\n"))
		default:
			reached = e.member(w, name, at, value, to)
			if len(e.ops) >= batchOps {
				e.write(w)
			}
		}
	}
	return max(end, reached)
}

// member takes a member whose name begins at a place, and whose value lies before to.
// Some bytes of it, at least the last, are not written yet. It returns the place up to
// which it was looked at as text without marks, or 0.
func (e *Encoder) member(w *writer, name uint16, at, value, to int) (reached int) {
	place, former := e.base+int32(at), e.named[name]
	e.named[name] = place
	if i := max(at, e.written); i < value {
		// Where the name stood last with a value that begins so, or where it stood last.
		word := e.r.word(value)
		slot := &e.likes[(word^uint64(name)<<52)*mix>>(64-valueBits)]
		distance := int(place - *slot)
		*slot = place
		if !within(distance, at) || e.r.word(value-distance) != word {
			distance = int(place - former)
		}
		if within(distance, at) {
			e.match(i, e.r.common(i-distance, i), distance)
		}
		if e.written >= to {
			return 0
		}
	}
	if c := e.r.byte(value); value < to && (c == '{' || c == '[') {
		return e.steps(w, value, to-len("],"))
	}
	e.rest(int32(name), value, to)
	return 0
}

// within reports whether a copy at a place can be from so many bytes before.
func within(distance, at int) bool { return uint(distance-1) < uint(min(window, at)) }
