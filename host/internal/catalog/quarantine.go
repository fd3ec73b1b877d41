package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// QuarantineLedger keeps a list of the contents of the quarantine's files. It
// implements package quarantine's Ledger, and does not interpret the values.
type QuarantineLedger struct{ catalog *Catalog }

// Quarantine returns the ledger of the quarantine. It is valid as long as the
// catalog.
func (c *Catalog) Quarantine() QuarantineLedger { return QuarantineLedger{c} }

// Sources returns the sources that have keys, sorted.
func (l QuarantineLedger) Sources(ctx context.Context) ([]string, error) {
	sources := []string{}
	rows, err := l.catalog.read.QueryContext(ctx, `SELECT DISTINCT source FROM quarantine ORDER BY source`)
	if err != nil {
		return nil, fmt.Errorf("list quarantined sources: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var source string
		if err := rows.Scan(&source); err != nil {
			return nil, fmt.Errorf("list quarantined sources: %w", err)
		}
		sources = append(sources, source)
	}
	return sources, rows.Err()
}

// Get returns the value of a source's key, or nil.
func (l QuarantineLedger) Get(ctx context.Context, source, key string) ([]byte, error) {
	var value []byte
	err := l.catalog.read.QueryRowContext(ctx, `SELECT value FROM quarantine WHERE source = ? AND key = ?`, source, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine ledger of %s: %w", source, err)
	}
	return value, nil
}

// ledgerPage is how many values Each holds at a time.
const ledgerPage = 500

// Each visits the keys of a source that begin with prefix, in the order of their
// bytes. No transaction is open while fn runs: fn may change the ledger.
func (l QuarantineLedger) Each(ctx context.Context, source, prefix string, fn func(key string, value []byte) error) error {
	for last, first := prefix, true; ; first = false {
		keys, values, err := l.page(ctx, source, prefix, last, first)
		if err != nil {
			return fmt.Errorf("quarantine ledger of %s: %w", source, err)
		}
		for i, key := range keys {
			if err := fn(key, values[i]); err != nil {
				return err
			}
		}
		if len(keys) < ledgerPage {
			return nil
		}
		last = keys[len(keys)-1]
	}
}

// page reads the keys that follow last, last itself included when first is set.
func (l QuarantineLedger) page(ctx context.Context, source, prefix, last string, first bool) (keys []string, values [][]byte, err error) {
	after := ">"
	if first {
		after = ">="
	}
	rows, err := l.catalog.read.QueryContext(ctx, `SELECT key, value FROM quarantine WHERE source = ? AND key `+after+` ? AND key < ? ORDER BY key LIMIT ?`,
		source, last, prefix+"\U0010ffff", ledgerPage)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, nil, err
		}
		keys, values = append(keys, key), append(values, value)
	}
	return keys, values, rows.Err()
}

// Set changes values of a source, durably and together; nil removes a key.
func (l QuarantineLedger) Set(ctx context.Context, source string, values map[string][]byte) error {
	err := l.catalog.Update(ctx, func(tx *sql.Tx) error {
		for key, value := range values {
			var err error
			if value == nil {
				_, err = tx.ExecContext(ctx, `DELETE FROM quarantine WHERE source = ? AND key = ?`, source, key)
			} else {
				_, err = tx.ExecContext(ctx, `INSERT INTO quarantine (source, key, value) VALUES (?, ?, ?)
					ON CONFLICT (source, key) DO UPDATE SET value = excluded.value`, source, key, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write quarantine ledger of %s: %w", source, err)
	}
	return nil
}
