package quarantine

import "fmt"

// DropCounted forgets records beyond the store's cap, of which nothing is kept.
// picked selects them by source and reason; dropped is told of each.
func (s *Store) DropCounted(picked func(source, reason string) bool, dropped func(source, reason string, n Count)) error {
	for _, x := range s.all("") {
		if err := x.dropCounted(picked, dropped); err != nil {
			return fmt.Errorf("drop from quarantine: %w", err)
		}
	}
	return nil
}

func (x *source) dropCounted(picked func(source, reason string) bool, dropped func(source, reason string, n Count)) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.mu.Lock()
	left, gone := split(x.name, x.over, picked)
	x.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	if err := setJSON(x.store.o.Ledger, x.name, map[string]any{countedKey: orNil(left)}); err != nil {
		return err
	}
	x.mu.Lock()
	x.over = left
	x.mu.Unlock()
	report(x.name, gone, dropped)
	return nil
}

// DropMissing forgets records that files have lost, and removes files of which
// damaged lines alone are left. picked selects records by source and reason;
// dropped is told of each.
func (s *Store) DropMissing(picked func(source, reason string) bool, dropped func(source, reason string, n Count)) error {
	for _, x := range s.all("") {
		if err := x.dropMissing(picked, dropped); err != nil {
			return fmt.Errorf("drop from quarantine: %w", err)
		}
	}
	return nil
}

func (x *source) dropMissing(picked func(source, reason string) bool, dropped func(source, reason string, n Count)) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	return x.eachMissing(func(file string, lost counts) error {
		left, gone := split(x.name, lost, picked)
		if len(gone) == 0 {
			return nil
		}
		if err := setJSON(x.store.o.Ledger, x.name, map[string]any{missingPrefix + file: orNil(left)}); err != nil {
			return err
		}
		report(x.name, gone, dropped)
		if len(left) > 0 {
			return nil
		}
		holds, err := countFile(x.path(file))
		if err != nil || len(holds) > 0 {
			return nil // it is not there, or holds records
		}
		return x.delete(file)
	})
}

// split divides counts into those that are left and those that are picked.
func split(source string, all counts, picked func(source, reason string) bool) (left, gone counts) {
	left, gone = counts{}, counts{}
	for reason, n := range all {
		if picked(source, reason) {
			gone.add(reason, n)
		} else {
			left.add(reason, n)
		}
	}
	return left, gone
}

func report(source string, gone counts, dropped func(source, reason string, n Count)) {
	for reason, n := range gone {
		dropped(source, reason, n)
	}
}

// orNil returns nil for no counts, which removes them from the ledger.
func orNil(c counts) any {
	if len(c) == 0 {
		return nil
	}
	return c
}
