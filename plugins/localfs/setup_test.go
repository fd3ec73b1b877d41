package localfs

import (
	"slices"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
)

func TestSetupText(t *testing.T) {
	const path = "/srv/a b/it's $(id)"
	commands, _ := setuptest.Run(t, Plugin(), setuptest.Case{
		Name: "directory", Config: map[string]any{"path": path}, Projects: []sdk.Project{{ID: 7}}, NoTerraform: true,
	})
	want := [][]string{{"mkdir", "-p", "--", path}, {"chown", "--", "penstock", path}, {"chmod", "0700", "--", path}}
	if !slices.EqualFunc(commands, want, slices.Equal[[]string]) {
		t.Errorf("got %q, want %q", commands, want)
	}
}
