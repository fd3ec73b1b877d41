package destination

import (
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/config"
)

// The steps of a destination come from a plugin that runs as plugin_user, as every
// plugin does: it is not started as another user instead.
func TestSetupStartsThePluginAsItsUser(t *testing.T) {
	t.Parallel()
	c := &config.Config{Destinations: []*config.Destination{{Type: "s3", Name: "lake"}}}
	c.Host.PluginDir, c.Host.PluginUser = t.TempDir(), "no-such-user"
	_, err := AskSetup(t.Context(), c, "s3.lake", false)
	if err == nil || !strings.Contains(err.Error(), "user no-such-user") {
		t.Errorf("it says %v", err)
	}
}
