//go:build cgo

package queries

import (
	"os"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

func TestMain(m *testing.M) {
	os.Exit(penstocktest.Main(m, map[string]string{
		"localfs":  "./cmd/penstock-destination-localfs",
		"s3":       "./cmd/penstock-destination-s3",
		"gcs":      "./cmd/penstock-destination-gcs",
		"azure":    "./cmd/penstock-destination-azure",
		"redshift": "./cmd/penstock-destination-redshift",
	}))
}
