package gcsbucket

import (
	"slices"
	"testing"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// The host passes no variable that the plugin does not declare: application
// default credentials need these.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCE_METADATA_HOST", "CLOUDSDK_CONFIG"} {
		if !slices.ContainsFunc(Plugin().Environment, func(entry string) bool { return protocol.MatchesEnvironment(entry, name) }) {
			t.Errorf("%s is not declared", name)
		}
	}
}
