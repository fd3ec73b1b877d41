package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// LatestSeal returns when the latest seal of any project was made; zero: there is none.
func (c *Catalog) LatestSeal(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	if err := c.read.QueryRowContext(ctx, `SELECT MAX(sealed_at) FROM segments`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("latest seal: %w", err)
	}
	if !at.Valid {
		return time.Time{}, nil
	}
	return fromMillis(at.Int64), nil
}

// SetUpkeep keeps the report of the latest pass over the journals, as JSON.
func (c *Catalog) SetUpkeep(ctx context.Context, report any) error {
	value, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode upkeep: %w", err)
	}
	_, err = c.write.ExecContext(ctx, `INSERT INTO upkeep (id, value) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET value = excluded.value`, value)
	if err != nil {
		return fmt.Errorf("set upkeep: %w", err)
	}
	return nil
}

// Upkeep reads the report of the latest pass; false: there was none.
func (c *Catalog) Upkeep(ctx context.Context, report any) (bool, error) {
	var value []byte
	err := c.read.QueryRowContext(ctx, `SELECT value FROM upkeep`).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(value, report)
	}
	if err != nil {
		return false, fmt.Errorf("read upkeep: %w", err)
	}
	return true, nil
}
