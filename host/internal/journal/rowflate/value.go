package rowflate

import "github.com/penstock-io/penstock/host/internal/swar"

// valueEnd returns the place after the value that begins at i: behind the closing quote
// of a string, and before the comma or bracket that ends anything else. Without that it
// is the end of the rows; it always lies after i.
func (r reader) valueEnd(i int) int {
	if r.byte(i) != '"' {
		for i++; i < r.n; i += 8 {
			w := r.word(i)
			if found := swar.Zeros(w^','*swar.Ones) | swar.Zeros(w^'}'*swar.Ones) | swar.Zeros(w^']'*swar.Ones); found != 0 {
				i += swar.First(found)
				break
			}
		}
		return min(i, r.n)
	}
	for i++; i < r.n; {
		w := r.word(i)
		found := swar.Zeros(w^'"'*swar.Ones) | swar.Zeros(w^'\\'*swar.Ones)
		if found == 0 {
			i += 8
			continue
		}
		i += swar.First(found)
		if i >= r.n || r.byte(i) == '"' {
			i++
			break
		}
		i += 2
	}
	return min(i, r.n)
}

// common returns how many bytes at a and at b, the later place, are equal.
func (r reader) common(a, b int) int {
	start := b
	for b < r.n {
		if x := r.word(a) ^ r.word(b); x != 0 {
			return min(b+swar.First(x), r.n) - start
		}
		a += 8
		b += 8
	}
	return r.n - start
}
