package catalog

import (
	"context"
	"errors"
	"fmt"
)

// Snapshot writes one state of the catalog to the file at path, in the place of a
// catalog that is there. Writers go on. The file is whole when Snapshot returns nil; it
// is not synced.
func (c *Catalog) Snapshot(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy catalog: %w", err)
		}
	}()
	if err := Remove(path); err != nil {
		return err
	}
	if err := makePrivate(path); err != nil {
		return err
	}
	// The connections of reading may write nothing at all, not even another file.
	db, err := openPool(dsn(c.path, ""))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, path)
	return errors.Join(err, db.Close())
}
