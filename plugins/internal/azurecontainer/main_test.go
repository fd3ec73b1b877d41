package azurecontainer

import (
	"os"
	"testing"

	"github.com/penstock-io/penstock/test/standin"
)

func TestMain(m *testing.M) { os.Exit(standin.ShareAzurite(m)) }
