package profile

import (
	"bytes"
	"math/big"
	"strconv"
)

// Limits of the numbers that $add computes with: those of IEEE 754 decimal128,
// and a length above which a text is not taken for a number.
const (
	maxDigits   = 34
	maxExponent = 6144 // of the first digit, and its negative
	maxNumber   = 400
)

// add appends the sum of two JSON numbers. It is computed with decimals: exact
// where it has at most 34 digits, rounded half to even where it has more. It is
// written without exponent from 1e-7 up to 34 digits, and without zeros that
// say nothing. ok is false where an operand or the sum is out of range.
func add(dst, a, b []byte) (sum []byte, ok bool) {
	if x, ok := smallInteger(a); ok {
		if y, ok := smallInteger(b); ok {
			return strconv.AppendInt(dst, x+y, 10), true
		}
	}
	x, ok := parseDecimal(a)
	if !ok || !x.inRange() {
		return dst, false
	}
	y, ok := parseDecimal(b)
	if !ok || !y.inRange() {
		return dst, false
	}
	z := x.plus(y)
	if !z.inRange() {
		return dst, false
	}
	return z.append(dst), true
}

// smallInteger reads an integer of at most 18 digits.
func smallInteger(text []byte) (int64, bool) {
	digits := bytes.TrimPrefix(text, []byte("-"))
	if len(digits) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

// decimal is a number: digits × 10^exponent. The digits neither begin nor end
// with a zero; those of zero are empty.
type decimal struct {
	negative bool
	digits   []byte
	exponent int
}

// parseDecimal reads a JSON number of at most maxNumber bytes.
func parseDecimal(text []byte) (decimal, bool) {
	if len(text) > maxNumber {
		return decimal{}, false
	}
	return splitNumber(text)
}

// splitNumber reads a JSON number of any length. It does not take an exponent
// of more than 15 digits.
func splitNumber(text []byte) (decimal, bool) {
	var d decimal
	text, d.negative = bytes.CutPrefix(text, []byte("-"))
	mantissa := text
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		exponent := bytes.TrimPrefix(text[i+1:], []byte("+"))
		sign, negative := bytes.CutPrefix(exponent, []byte("-"))
		n := bytes.TrimLeft(sign, "0")
		if len(n) > 15 {
			return d, false
		}
		for _, c := range n {
			d.exponent = d.exponent*10 + int(c-'0')
		}
		if negative {
			d.exponent = -d.exponent
		}
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	d.exponent -= len(fraction)
	d.digits = append(append(make([]byte, 0, len(mantissa)), whole...), fraction...)
	d.trim()
	return d, true
}

// trim removes zeros at both ends.
func (d *decimal) trim() {
	d.digits = bytes.TrimLeft(d.digits, "0")
	short := bytes.TrimRight(d.digits, "0")
	d.exponent += len(d.digits) - len(short)
	d.digits = short
	if len(short) == 0 {
		*d = decimal{}
	}
}

// first is the exponent of the first digit.
func (d decimal) first() int { return d.exponent + len(d.digits) - 1 }

func (d decimal) inRange() bool {
	return len(d.digits) == 0 || d.first() <= maxExponent && d.first() >= -maxExponent
}

// plus is the sum, rounded.
func (d decimal) plus(o decimal) decimal {
	switch {
	case len(d.digits) == 0:
		return o.rounded()
	case len(o.digits) == 0:
		return d.rounded()
	case d.first() < o.first():
		d, o = o, d
	}
	// Where the smaller one is far below the last digit that is kept of the larger one,
	// only its sign matters.
	if lowest := min(d.exponent, d.first()-maxDigits-1) - 2; o.first() < lowest {
		o = decimal{o.negative, []byte("1"), lowest}
	}
	exponent := min(d.exponent, o.exponent)
	sum := d.integer(exponent)
	sum.Add(sum, o.integer(exponent))
	z := decimal{negative: sum.Sign() < 0, exponent: exponent}
	z.digits = sum.Abs(sum).Append(nil, 10)
	z.trim()
	return z.rounded()
}

// integer is the number in units of 10^exponent. exponent is at most that of its
// last digit.
func (d decimal) integer(exponent int) *big.Int {
	digits := append(bytes.Clone(d.digits), bytes.Repeat([]byte("0"), d.exponent-exponent)...)
	n, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		panic("profile: digits are no digits: " + string(digits))
	}
	if d.negative {
		n.Neg(n)
	}
	return n
}

// rounded is the number with at most maxDigits digits.
func (d decimal) rounded() decimal {
	if len(d.digits) <= maxDigits {
		return d
	}
	kept, rest := bytes.Clone(d.digits[:maxDigits]), d.digits[maxDigits:]
	d.exponent += len(rest)
	half := bytes.Compare(rest, []byte("5"))
	if half > 0 || half == 0 && (kept[maxDigits-1]-'0')%2 == 1 {
		i := maxDigits - 1
		for ; i >= 0 && kept[i] == '9'; i-- {
			kept[i] = '0'
		}
		if i >= 0 {
			kept[i]++
		} else {
			kept = append([]byte("1"), kept...)
		}
	}
	d.digits = kept
	d.trim()
	return d
}

// append appends the number as JSON.
func (d decimal) append(dst []byte) []byte {
	if len(d.digits) == 0 {
		return append(dst, '0')
	}
	if d.negative {
		dst = append(dst, '-')
	}
	first := d.first()
	switch {
	case first >= maxDigits || first < -7:
		dst = append(dst, d.digits[0])
		if len(d.digits) > 1 {
			dst = append(append(dst, '.'), d.digits[1:]...)
		}
		dst = append(dst, 'e')
		return strconv.AppendInt(dst, int64(first), 10)
	case d.exponent >= 0:
		dst = append(dst, d.digits...)
		return append(dst, bytes.Repeat([]byte("0"), d.exponent)...)
	case first >= 0:
		dst = append(append(dst, d.digits[:first+1]...), '.')
		return append(dst, d.digits[first+1:]...)
	default:
		dst = append(dst, "0."...)
		dst = append(dst, bytes.Repeat([]byte("0"), -first-1)...)
		return append(dst, d.digits...)
	}
}
