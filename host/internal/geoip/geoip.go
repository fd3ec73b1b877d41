package geoip

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// DB is an open file. It may be used concurrently.
type DB struct {
	reader *maxminddb.Reader
}

// Open opens a file, which stays open: one that is put in its place is seen by
// the next Open. The caller closes it.
func Open(path string) (*DB, error) {
	reader, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the addresses in %s: %w", path, err)
	}
	return &DB{reader}, nil
}

// Locate returns the place of an address, or false if the file has none for it.
// An entry in another form than that of MaxMind's own files counts as none.
func (d *DB) Locate(address netip.Addr) (schema.Place, bool) {
	var p schema.Place
	if !address.IsValid() {
		return p, false
	}
	found := d.reader.Lookup(address.Unmap().WithZone(""))
	if !found.Found() {
		return p, false
	}
	for _, part := range []struct {
		to   *string
		path []any
	}{
		{&p.City, []any{"city", "names", "en"}},
		{&p.Region, []any{"subdivisions", 0, "names", "en"}},
		{&p.Country, []any{"country", "iso_code"}},
	} {
		if found.DecodePath(part.to, part.path...) != nil {
			*part.to = ""
		}
	}
	return p, p != schema.Place{}
}

// Close closes the file. Nothing may be looked up any more.
func (d *DB) Close() error {
	if err := d.reader.Close(); err != nil {
		return fmt.Errorf("close the file of addresses: %w", err)
	}
	return nil
}
