package quarantine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// depth is how closely files are compared with the ledger.
type depth int

const (
	sizes    depth = iota // a file of the same size as before holds the same records
	contents              // every line is read
)

// open removes files that were left half-written, and compares the others with
// the ledger.
func (x *source) open() error {
	x.writing.Lock()
	defer x.writing.Unlock()
	found, err := os.ReadDir(x.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range found {
		if strings.HasPrefix(d.Name(), temporary) && !x.store.o.ReadOnly {
			if err := os.Remove(x.path(d.Name())); err != nil {
				return err
			}
		}
		if prefix, from, ok := parseSpan(d.Name()); ok {
			x.spans[prefix] = append(x.spans[prefix], from)
		}
	}
	if _, err := getJSON(x.store.o.Ledger, x.name, countedKey, &x.over); err != nil {
		return err
	}
	return x.compareAll(sizes)
}

// check compares files with the ledger: those that are named, or all.
func (x *source) check(d depth, names ...string) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	if len(names) == 0 {
		return x.compareAll(d)
	}
	for _, name := range names {
		var before record
		if _, err := getJSON(x.store.o.Ledger, x.name, filePrefix+name, &before); err != nil {
			return err
		}
		after, err := x.compare(name, before, d)
		if err != nil {
			return err
		}
		x.add(after.Counts.minus(before.Counts))
	}
	return nil
}

// verify reads all files, and returns how many there are.
func (x *source) verify(ctx context.Context) (files int, err error) {
	names, err := x.files()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return files, context.Cause(ctx)
		}
		if err := x.check(contents, name); err != nil {
			return files, err
		}
		files++
	}
	return files, x.check(sizes)
}

// compareAll compares the source's files with the ledger, one after another in
// the order of their names, and counts their records.
func (x *source) compareAll(d depth) error {
	names, err := x.files()
	if err != nil {
		return err
	}
	sum, bytes := counts{}, int64(0)
	compare := func(name string, r record) error {
		r, err := x.compare(name, r, d)
		sum.addAll(r.Counts)
		bytes += r.Bytes
		return err
	}
	err = x.store.o.Ledger.Each(context.Background(), x.name, filePrefix, func(key string, value []byte) error {
		var r record
		if err := unmarshal(x.name, key, value, &r); err != nil {
			return err
		}
		known := strings.TrimPrefix(key, filePrefix)
		for len(names) > 0 && names[0] < known {
			if err := compare(names[0], record{}); err != nil {
				return err
			}
			names = names[1:]
		}
		if len(names) > 0 && names[0] == known {
			names = names[1:]
		}
		return compare(known, r)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := compare(name, record{}); err != nil {
			return err
		}
	}
	x.mu.Lock()
	x.counts = sum
	x.mu.Unlock()
	x.store.setSize(x, bytes)
	return nil
}

// compare compares a file with its record, and returns the record that the file
// has from then on. Lost records are noted as missing; records that were found
// again are not missing any more. A file that cannot be read keeps its record.
func (x *source) compare(name string, r record, d depth) (record, error) {
	size, err := fileSize(x.path(name))
	if err == nil && size == r.Bytes && size > 0 && d == sizes {
		return r, nil
	}
	holds := record{Bytes: size, Counts: counts{}}
	if err == nil && size != r.Bytes && isTail(name) {
		holds.Bytes, err = mendTail(x.path(name), size, x.store.o.ReadOnly)
	}
	if err == nil && holds.Bytes > 0 {
		holds.Counts, err = countFile(x.path(name))
	}
	if err != nil {
		x.store.o.Logger.Warn("could not read a quarantine file; will retry", "file", x.path(name), "error", err)
		return r, nil
	}
	lost := r.Counts.minus(holds.Counts)
	if len(lost) == 0 && r.Bytes == holds.Bytes {
		return r, nil
	}
	missing := counts{}
	if _, err := getJSON(x.store.o.Ledger, x.name, missingPrefix+name, &missing); err != nil {
		return r, err
	}
	before := len(missing)
	missing.addAll(lost)
	missing = missing.positive()
	changes := map[string]any{filePrefix + name: holds, missingPrefix + name: orNil(missing)}
	if len(holds.Counts) == 0 {
		changes[filePrefix+name] = nil
	}
	if len(missing) > before {
		x.store.o.Logger.Error("records are missing from quarantine", "file", x.path(name), "records", missing.String())
	}
	return holds, setJSON(x.store.o.Ledger, x.name, changes)
}

// countFile counts the records of a file. Damaged lines count as none.
func countFile(path string) (counts, error) {
	found := counts{}
	_, _, err := eachLine(path, func(_ int, data []byte) (bool, error) { return true, tally(data, found) })
	return found, err
}

// eachMissing visits the files that have lost records.
func (x *source) eachMissing(fn func(file string, lost counts) error) error {
	return x.store.o.Ledger.Each(context.Background(), x.name, missingPrefix, func(key string, value []byte) error {
		lost := counts{}
		if err := unmarshal(x.name, key, value, &lost); err != nil {
			return err
		}
		return fn(strings.TrimPrefix(key, missingPrefix), lost)
	})
}
