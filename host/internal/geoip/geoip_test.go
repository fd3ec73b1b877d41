package geoip

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/penstock-io/penstock/host/internal/schema"
)

func named(name string) mmdbtype.Map {
	return mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(name), "de": mmdbtype.String("nicht " + name)}}
}

// file writes a small file in the form of GeoLite2 City.
func file(t *testing.T) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, record := range map[string]mmdbtype.Map{
		"81.2.69.0/24": {
			"city": named("London"), "subdivisions": mmdbtype.Slice{named("England"), named("Greater London")},
			"country": mmdbtype.Map{"iso_code": mmdbtype.String("GB")},
		},
		"2001:db8:1::/48": {"country": mmdbtype.Map{"iso_code": mmdbtype.String("EC")}, "subdivisions": mmdbtype.Slice{}},
		"81.3.0.0/16":     {"city": mmdbtype.String("in another form"), "country": mmdbtype.Map{}},
	} {
		_, n, err := net.ParseCIDR(network)
		if err == nil {
			err = tree.Insert(n, record)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "city.mmdb")
	f, err := os.Create(path)
	if err == nil {
		_, err = tree.WriteTo(f)
	}
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	return path
}

func TestLocate(t *testing.T) {
	d, err := Open(file(t))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]schema.Place{
		"81.2.69.142":        {City: "London", Region: "England", Country: "GB"},
		"::ffff:81.2.69.142": {City: "London", Region: "England", Country: "GB"},
		"2001:db8:1::7":      {Country: "EC"},
		"2001:db8:1::7%eth0": {Country: "EC"},
		"81.3.1.1":           {},
		"127.0.0.1":          {},
		"::1":                {},
	} {
		got, ok := d.Locate(netip.MustParseAddr(address))
		if got != want || ok != (want != schema.Place{}) {
			t.Errorf("%s is in %+v, %v, want %+v", address, got, ok, want)
		}
	}
	if got, ok := d.Locate(netip.Addr{}); ok {
		t.Errorf("no address is in %+v", got)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.mmdb")); err == nil {
		t.Error("a missing file is opened")
	}
	path := filepath.Join(t.TempDir(), "text.mmdb")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a text is opened")
	}
}
