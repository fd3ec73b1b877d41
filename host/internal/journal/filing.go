package journal

import "github.com/penstock-io/penstock/host/internal/journal/keys"

// filing is where the keys of rows are kept and looked for: runs of keys have
// sections by date.
//
//	row                            kept under       looked for under
//	any                            its UTC date     its UTC date
//	time replaced on arrival       the date sent    the date sent
//	no time sent, so the arrival's its UTC date     its UTC date and the one before
type filing struct {
	date    Day
	undated bool
}

func filingOf(r *Row, utcDate Day) filing {
	f := filing{date: r.KeyDate, undated: r.Undated}
	if f.date == 0 {
		f.date = utcDate
	}
	return f
}

// rank orders filings of one date.
func (f filing) rank() int {
	if f.undated {
		return 1
	}
	return 0
}

// find sets found[i] for each of keys, ascending, that a run with To > after
// holds.
func (f filing) find(set *keys.Set, ascending []Key, found []bool, after int64) error {
	err := set.Find(f.date, ascending, found, after)
	if err == nil && f.undated {
		err = set.Find(f.date-1, ascending, found, after)
	}
	return err
}
