package quarantine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Ledger remembers how many records the files of a store hold. It lies outside of the
// store's directory, so that files that were emptied or deleted are missed. It
// may be used concurrently.
type Ledger interface {
	// Sources returns the sources that have keys, sorted.
	Sources(ctx context.Context) ([]string, error)
	// Get returns the value of a source's key, or nil.
	Get(ctx context.Context, source, key string) ([]byte, error)
	// Each visits the keys of a source that begin with prefix, in the order of
	// their bytes. fn may change the ledger.
	Each(ctx context.Context, source, prefix string, fn func(key string, value []byte) error) error
	// Set changes values of a source, durably and together; nil removes a key.
	Set(ctx context.Context, source string, values map[string][]byte) error
}

// The keys of a source in the ledger.
const (
	filePrefix    = "file/"    // then a file's name: a record
	missingPrefix = "missing/" // then a file's name: counts that the file held and does not hold any more
	countedKey    = "counted"  // numbers by reason: records beyond the store's cap
)

// record describes a file in the ledger. A crash leaves a file that holds
// more than its record, never less: a record is made after the file was
// written, and lowered before the file is.
type record struct {
	Bytes  int64  `json:"bytes"`
	Counts counts `json:"counts"`
}

// getJSON reads a value of the ledger into v. found is false when there is
// none.
func getJSON(l Ledger, source, key string, v any) (found bool, err error) {
	data, err := l.Get(context.Background(), source, key)
	if err != nil || data == nil {
		return false, err
	}
	return true, unmarshal(source, key, data, v)
}

func unmarshal(source, key string, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("ledger of the quarantine, %s of %s: %w", key, source, err)
	}
	return nil
}

// setJSON changes values of the ledger; nil removes one. A file that was
// changed is recorded also when the caller has given up: there is no context.
func setJSON(l Ledger, source string, values map[string]any) error {
	encoded := map[string][]byte{}
	for key, v := range values {
		if v == nil {
			encoded[key] = nil
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		encoded[key] = data
	}
	return l.Set(context.Background(), source, encoded)
}

// NewMemoryLedger returns a Ledger that lasts as long as the process.
func NewMemoryLedger() Ledger { return &memoryLedger{values: map[string]map[string][]byte{}} }

type memoryLedger struct {
	mu     sync.Mutex
	values map[string]map[string][]byte
}

func (l *memoryLedger) Sources(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.values)), nil
}

func (l *memoryLedger) Get(_ context.Context, source, key string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[source][key], nil
}

func (l *memoryLedger) Each(_ context.Context, source, prefix string, fn func(key string, value []byte) error) error {
	l.mu.Lock()
	values := maps.Clone(l.values[source])
	l.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if strings.HasPrefix(key, prefix) {
			if err := fn(key, values[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *memoryLedger) Set(_ context.Context, source string, values map[string][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, value := range values {
		if value == nil {
			delete(l.values[source], key)
			continue
		}
		if l.values[source] == nil {
			l.values[source] = map[string][]byte{}
		}
		l.values[source][key] = value
	}
	if len(l.values[source]) == 0 {
		delete(l.values, source)
	}
	return nil
}

// overlay is a ledger whose changes stay in memory.
type overlay struct {
	base Ledger

	mu      sync.Mutex
	changes map[string]map[string][]byte // by source and key; nil value: removed
}

func newOverlay(base Ledger) *overlay {
	return &overlay{base: base, changes: map[string]map[string][]byte{}}
}

func (l *overlay) Sources(ctx context.Context) ([]string, error) {
	names, err := l.base.Sources(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	names = append(slices.Clone(names), slices.Collect(maps.Keys(l.changes))...)
	slices.Sort(names)
	return slices.Compact(names), err
}

func (l *overlay) Get(ctx context.Context, source, key string) ([]byte, error) {
	if value, changed := l.changed(source, key); changed {
		return value, nil
	}
	return l.base.Get(ctx, source, key)
}

func (l *overlay) changed(source, key string) (value []byte, changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	value, changed = l.changes[source][key]
	return value, changed
}

func (l *overlay) Each(ctx context.Context, source, prefix string, fn func(key string, value []byte) error) error {
	l.mu.Lock()
	changes := maps.Clone(l.changes[source])
	l.mu.Unlock()
	keys := slices.Sorted(maps.Keys(changes))
	upTo := func(end string, all bool) error {
		for len(keys) > 0 && (all || keys[0] < end) {
			key := keys[0]
			keys = keys[1:]
			if changes[key] == nil || !strings.HasPrefix(key, prefix) {
				continue
			}
			if err := fn(key, changes[key]); err != nil {
				return err
			}
		}
		return nil
	}
	err := l.base.Each(ctx, source, prefix, func(key string, value []byte) error {
		if err := upTo(key, false); err != nil {
			return err
		}
		if _, changed := changes[key]; changed {
			return nil // it is among the changes
		}
		return fn(key, value)
	})
	if err != nil {
		return err
	}
	return upTo("", true)
}

func (l *overlay) Set(_ context.Context, source string, values map[string][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes[source] == nil {
		l.changes[source] = map[string][]byte{}
	}
	maps.Copy(l.changes[source], values)
	return nil
}
