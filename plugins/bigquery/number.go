package bigquery

import (
	"bytes"
	"strings"

	"github.com/penstock-io/penstock/sdk/batch"
)

// The range of integers that the JSON type holds.
const (
	mostUnsigned = "18446744073709551615" // 2^64-1
	mostNegative = "9223372036854775808"  // 2^63
)

// keepsNumber reports whether the JSON type keeps the value of a number.
func keepsNumber(number []byte) bool {
	if !bytes.ContainsAny(number, ".eE") {
		digits, negative := bytes.CutPrefix(number, []byte("-"))
		most := mostUnsigned
		if negative {
			most = mostNegative
		}
		if len(digits) < len(most) || len(digits) == len(most) && strings.Compare(string(digits), most) <= 0 {
			return true
		}
	}
	_, exact := batch.FitsDouble(number)
	return exact
}
