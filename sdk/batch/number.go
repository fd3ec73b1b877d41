package batch

import (
	"strconv"
	"unsafe"
)

// FitsDouble reports whether an IEEE double is near the value of a JSON number
// (finite), and whether the number survives a round trip through one (exact): the
// shortest text that identifies the double has the same value.
//
//	0.1, 1e21, 1.50       finite, exact
//	0.1234567890123456789 finite: it would become 0.12345678901234568
//	1e-400                finite: it would become 0
//	1e400                 neither
//
// number must be valid JSON. FitsDouble allocates nothing.
func FitsDouble(number []byte) (finite, exact bool) {
	if len(number) == 0 {
		return false, false
	}
	// The string does not outlive the call.
	f, err := strconv.ParseFloat(unsafe.String(&number[0], len(number)), 64)
	if err != nil {
		return false, false
	}
	var buf [32]byte
	shortest := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	return true, sameValue(number, shortest)
}

// sameValue compares the values of two JSON numbers, exactly.
func sameValue(a, b []byte) bool {
	x, y := significand(a), significand(b)
	if x.digits == 0 || y.digits == 0 {
		return x.digits == y.digits
	}
	if x.negative != y.negative || x.exponent != y.exponent || x.digits != y.digits {
		return false
	}
	i, j := x.first, y.first
	for range x.digits {
		for a[i] == '.' {
			i++
		}
		for b[j] == '.' {
			j++
		}
		if a[i] != b[j] {
			return false
		}
		i, j = i+1, j+1
	}
	return true
}

// decimal describes a number as 0.d1d2…dn times a power of ten, d1 and dn not 0.
type decimal struct {
	negative bool
	first    int // index of d1 in the text
	digits   int // n; 0: the number is zero
	exponent int
}

// farExponent bounds exponents: a number of 4 MiB of digits cannot bring one of
// that size back into the range of a double.
const farExponent = 1 << 40

func significand(text []byte) decimal {
	var d decimal
	i := 0
	if text[0] == '-' {
		d.negative, i = true, 1
	}
	integer, pointed := 0, false // digits before the point since d1
	leading, seen := 0, 0        // zeros between the point and d1; digits since d1
	for ; i < len(text) && text[i]|0x20 != 'e'; i++ {
		switch c := text[i]; {
		case c == '.':
			pointed = true
			continue
		case c == '0' && seen == 0:
			if pointed {
				leading++
			}
			continue
		case seen == 0:
			d.first = i
		}
		seen++
		if !pointed {
			integer++
		}
		if text[i] != '0' {
			d.digits = seen
		}
	}
	d.exponent = integer - leading
	if i < len(text) {
		d.exponent += power(text[i+1:])
	}
	return d
}

// power parses the digits of an exponent with an optional sign.
func power(text []byte) int {
	negative, n := false, 0
	for _, c := range text {
		switch {
		case c == '-':
			negative = true
		case c != '+' && n < farExponent:
			n = n*10 + int(c-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}
