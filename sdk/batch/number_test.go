package batch

import (
	"math/big"
	"strconv"
	"strings"
	"testing"
)

func TestFitsDouble(t *testing.T) {
	for _, c := range []struct {
		number        string
		finite, exact bool
	}{
		{"0", true, true}, {"-0", true, true}, {"0.000", true, true}, {"0e99999999999999999999", true, true},
		{"0.1", true, true}, {"0.10", true, true}, {"1.0", true, true}, {"1e3", true, true}, {"1E+2", true, true}, {"-1.5e-7", true, true},
		{"100000000000000000000", true, true}, {"1e21", true, true}, {"0.30000000000000004", true, true}, {"1e308", true, true},
		{"9007199254740993", true, false}, {"9007199254740992", true, true},
		{"0.1234567890123456789", true, false}, {"0.30000000000000005", true, false}, {"1e-400", true, false}, {"2.5e-324", true, false}, {"5e-324", true, true},
		{"1e400", false, false}, {"-1e99999999999999999999", false, false}, {"", false, false},
		{"0." + strings.Repeat("0", 400) + "1e400", true, true}, {"1" + strings.Repeat("0", 300), true, true},
		{"0." + strings.Repeat("0", 10) + "1e11", true, true},
	} {
		if finite, exact := FitsDouble([]byte(c.number)); finite != c.finite || exact != c.exact {
			t.Errorf("%s: finite %v, exact %v; want %v, %v", c.number, finite, exact, c.finite, c.exact)
		}
	}
}

// The answer agrees with rational arithmetic.
func FuzzFitsDouble(f *testing.F) {
	for _, s := range []string{"0.1", "1e-400", "123456789012345678901234567890", "-0.000", "4.35e17", "1E+2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, number string) {
		if !isNumber(number) || len(number) > 60 {
			return
		}
		finite, exact := FitsDouble([]byte(number))
		d, err := strconv.ParseFloat(number, 64)
		if (err == nil) != finite {
			t.Fatalf("%s: finite %v, ParseFloat: %v", number, finite, err)
		}
		if i := strings.IndexAny(number, "eE"); i >= 0 {
			if n, err := strconv.Atoi(number[i+1:]); err != nil || n > 400 || n < -400 {
				return // too large for big.Rat
			}
		}
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(number)
		got, _ := new(big.Rat).SetString(strconv.FormatFloat(d, 'e', -1, 64))
		if ok && (want.Cmp(got) == 0) != exact {
			t.Fatalf("%s: exact %v, the shortest text of its double is %v", number, exact, d)
		}
	})
}

// isNumber reports whether s has the form of a JSON number.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() bool {
		n := len(s)
		s = strings.TrimLeft(s, "0123456789")
		return len(s) < n
	}
	zero := strings.HasPrefix(s, "0")
	n := len(s)
	if !digits() || zero && n-len(s) > 1 {
		return false
	}
	if strings.HasPrefix(s, ".") {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}
