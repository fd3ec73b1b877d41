package azure_test

import (
	"os"
	"testing"

	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
)

func TestMain(m *testing.M) {
	os.Exit(destinationtest.ShareBuilds(func() int { return standin.ShareAzurite(m) }))
}
