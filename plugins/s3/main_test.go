package s3_test

import (
	"os"
	"testing"

	"github.com/penstock-io/penstock/sdk/destinationtest"
)

func TestMain(m *testing.M) { os.Exit(destinationtest.ShareBuilds(m.Run)) }
