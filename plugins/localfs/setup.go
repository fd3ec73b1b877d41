package localfs

import (
	"errors"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	if r.Format == sdk.SetupTerraform {
		return nil, sdk.Permanent(errors.New("a directory of the host's own machine is not made with Terraform: run it without --terraform"))
	}
	return []sdk.SetupStep{{
		Title: "Create the directory, as root. The user that runs penstock owns it; penstock here, or the value of PENSTOCK_USER.",
		Text: setup.Command("mkdir", "-p", "--", c.Path) +
			"chown -- \"${PENSTOCK_USER:-penstock}\" " + setup.Word(c.Path) + "\n" +
			setup.Command("chmod", "0700", "--", c.Path),
	}}, nil
}
