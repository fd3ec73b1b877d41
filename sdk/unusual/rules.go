package unusual

import (
	"fmt"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Mode is the treatment of rows that the destination cannot hold.
type Mode int

// The modes. The zero value is Repair.
const (
	Repair Mode = iota // the row is changed
	Reject             // the row is rejected
)

// Attribute returns the attribute of a destination block that selects the mode.
func Attribute() schema.Attribute {
	return schema.Attribute{
		Name: "unusual", Type: schema.String, Default: "repair", Allowed: []string{"repair", "reject"},
		Description: "The treatment of rows that typed columns cannot hold (equal keys, surrogates without partner, numbers that would be rounded): repair changes and counts them, reject puts them into the quarantine.",
	}
}

// ParseMode reads the value of the attribute; the empty text is Repair.
func ParseMode(text string) (Mode, error) {
	switch text {
	case "", "repair":
		return Repair, nil
	case "reject":
		return Reject, nil
	}
	return 0, fmt.Errorf("unusual %q is not one of repair, reject", text)
}

// Rules describe the JSON texts that a destination can hold.
type Rules struct {
	Mode Mode
	// KeepsNumber reports whether the destination keeps the value of a JSON number.
	// It is called for numbers that have an exponent or more than 15 characters.
	// nil: those whose value a double keeps: see batch.FitsDouble.
	KeepsNumber func(number []byte) bool
	// RefusesNUL says that strings cannot hold U+0000.
	RefusesNUL bool
	// MaxDepth is the largest number of levels of a column's value: {"a":[1]} has
	// two. 0: no limit.
	MaxDepth int
}

// The reasons for changes, and for rejected rows.
const (
	EqualKeys     = "equal keys"
	LoneSurrogate = "surrogate without partner"
	NUL           = "string holds U+0000"
	WideNumber    = "number would be rounded or refused"
)

// flags returns the flags of the batches that may hold rows to change.
func (r Rules) flags() batch.Flags {
	f := batch.DuplicateKey | batch.LoneSurrogate | batch.WideNumber | batch.RoundedNumber
	if r.RefusesNUL {
		f |= batch.NUL
	}
	if r.MaxDepth > 0 {
		f |= batch.Deep
	}
	return f
}

// keepsNumber reports whether a number may stay as it is. Numbers of up to 15
// characters without exponent are held by every double.
func (r Rules) keepsNumber(number []byte, exponent bool) bool {
	const alwaysHeld = 15
	if len(number) <= alwaysHeld && !exponent {
		return true
	}
	if r.KeepsNumber != nil {
		return r.KeepsNumber(number)
	}
	_, exact := batch.FitsDouble(number)
	return exact
}
