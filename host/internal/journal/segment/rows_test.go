package segment

import (
	"bytes"
	"fmt"
	"testing"
)

func shopRows(from, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"distinct_id":"user-%d","event_name":"View","properties":{"price":%d.99}}`+"\n", (from+i)*7919%1000, (from+i)%500)
	}
	return b.Bytes()
}

func TestRowEncoder(t *testing.T) {
	e := NewRowEncoder(NewCare(func(err error) { t.Error(err) }))
	for i := range 3 * checkEvery {
		rows := shopRows(i, 20)
		b, err := e.Encode(rows, 20, 0)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := Decode(nil, b); err != nil || !bytes.Equal(found, rows) {
			t.Fatalf("block %d: %v", i, err)
		}
	}
}

// A block that does not inflate to its rows is noticed, and compressed again; so are all
// later ones.
func TestABlockThatDoesNotInflate(t *testing.T) {
	var warned []error
	e := NewRowEncoder(NewCare(func(err error) { warned = append(warned, err) }))
	for i := range 3 * checkEvery {
		if i == checkEvery {
			e.harm = func(payload []byte) { payload[len(payload)/2] ^= 0x10 }
		}
		rows := shopRows(i, 20)
		b, err := e.Encode(rows, 20, 0)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Decode(nil, b)
		if whole := err == nil && bytes.Equal(found, rows); !whole {
			t.Errorf("block %d: %v", i, err)
		}
	}
	if len(warned) != 1 {
		t.Errorf("warnings: %v", warned)
	}
}

// A careful encoder looks at every block.
func TestACarefulEncoder(t *testing.T) {
	var warned []error
	care := NewCare(func(err error) { warned = append(warned, err) })
	e := NewRowEncoder(care)
	for i := range 5 {
		switch i {
		case 2:
			care.All()
		case 4:
			e.harm = func(payload []byte) { payload[len(payload)/2] ^= 0x10 }
		}
		rows := shopRows(i, 20)
		b, err := e.Encode(rows, 20, 0)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := Decode(nil, b); err != nil || !bytes.Equal(found, rows) {
			t.Errorf("block %d: %v", i, err)
		}
	}
	if len(warned) != 1 {
		t.Errorf("warnings: %v", warned)
	}
}

// Once a block of one encoder was wrong, those that share its care look at every block.
func TestEncodersShareTheirCare(t *testing.T) {
	warned := 0
	care := NewCare(func(error) { warned++ })
	one, other := NewRowEncoder(care), NewRowEncoder(care)
	harm := func(payload []byte) { payload[len(payload)/2] ^= 0x10 }
	if _, err := other.Encode(shopRows(0, 20), 20, 0); err != nil { // the next ones would not be looked at
		t.Fatal(err)
	}
	one.harm, other.harm = harm, harm
	for i, e := range []*RowEncoder{one, other} {
		rows := shopRows(i, 20)
		b, err := e.Encode(rows, 20, 0)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := Decode(nil, b); err != nil || !bytes.Equal(found, rows) {
			t.Errorf("encoder %d: %v", i, err)
		}
	}
	if warned != 2 {
		t.Errorf("%d warnings", warned)
	}
}
