package snowflake

import (
	"bytes"

	"github.com/penstock-io/penstock/sdk/batch"
)

// maxDigits is the precision of the fixed-point numbers in a VARIANT.
const maxDigits = 38

// keepsNumber reports whether a VARIANT keeps the value of a number: up to 38 digits
// without exponent are fixed-point, others are doubles.
func keepsNumber(number []byte) bool {
	if !bytes.ContainsAny(number, "eE") {
		digits := len(bytes.TrimLeft(bytes.ReplaceAll(bytes.TrimPrefix(number, []byte("-")), []byte("."), nil), "0"))
		_, fraction, _ := bytes.Cut(number, []byte("."))
		if digits <= maxDigits && len(fraction) < maxDigits {
			return true
		}
	}
	_, exact := batch.FitsDouble(number)
	return exact
}
