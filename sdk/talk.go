package sdk

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// talk answers a person who has started the plugin by hand, and returns the exit
// status.
func talk(p Plugin, args []string, out, errOut io.Writer) int {
	if err := p.validate(); err != nil {
		fmt.Fprintf(errOut, "plugin %s: bug in the plugin: %v\n", p.Name, err)
		return 1
	}
	if len(args) == 1 {
		switch args[0] {
		case "--version", "-version":
			fmt.Fprintf(out, "%s %s (destination protocol %d)\n", p.Name, p.Version, protocol.Version)
			return 0
		case "--describe", "-describe":
			return printDescription(p, out, errOut)
		}
	}
	fmt.Fprintf(errOut, `This is the %[1]s destination plugin %[2]s of Penstock. The host starts it:

  put it into the host's plugin_dir as penstock-destination-%[1]s,
  pin it with  penstock plugins trust %[1]s
  and name it in a configuration:  destination %[1]q "name" { … }

By hand it takes  --version  and  --describe  (its attributes and capabilities as JSON).
`, p.Name, p.Version)
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
		return 0
	}
	fmt.Fprintf(errOut, "\nIt does not take %q.\n", args)
	return 2
}

// description is the JSON that --describe prints.
type description struct {
	Name         string                `json:"name"`
	Version      string                `json:"version"`
	Protocol     []int                 `json:"protocol_versions"`
	Attributes   []describedAttribute  `json:"attributes"`
	Capabilities describedCapabilities `json:"capabilities"`
}

type describedAttribute struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Required    bool     `json:"required,omitempty"`
	Sensitive   bool     `json:"sensitive,omitempty"`
	Default     any      `json:"default,omitempty"`
	Allowed     []string `json:"allowed,omitempty"`
	Description string   `json:"description"`
	Deprecated  string   `json:"deprecated,omitempty"`
}

type describedCapabilities struct {
	Streams       []string `json:"streams"`
	Guarantee     string   `json:"guarantee"`
	GuaranteeText string   `json:"guarantee_text,omitempty"`
	Inventory     bool     `json:"inventory"`
	Erase         bool     `json:"erase"`
	MaxDaysPerRun int      `json:"max_days_per_run,omitempty"`
	MinInterval   string   `json:"min_interval,omitempty"` // as in "5m0s"
}

func printDescription(p Plugin, out, errOut io.Writer) int {
	c := p.Capabilities
	d := description{
		Name: p.Name, Version: p.Version, Protocol: []int{protocol.Version}, Attributes: []describedAttribute{},
		Capabilities: describedCapabilities{
			Guarantee: c.Guarantee.String(), GuaranteeText: c.GuaranteeText,
			Inventory: c.Inventory, Erase: c.Erase, MaxDaysPerRun: c.MaxDaysPerRun,
		},
	}
	if c.MinInterval > 0 {
		d.Capabilities.MinInterval = c.MinInterval.String()
	}
	for _, s := range c.Streams {
		d.Capabilities.Streams = append(d.Capabilities.Streams, s.String())
	}
	for _, a := range p.Schema.Attributes {
		d.Attributes = append(d.Attributes, describedAttribute{
			Name: a.Name, Type: a.Type.String(), Required: a.Required, Sensitive: a.Sensitive, Default: a.Default,
			Allowed: a.Allowed, Description: a.Description, Deprecated: a.Deprecated,
		})
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		fmt.Fprintf(errOut, "describe: %v\n", err)
		return 1
	}
	return 0
}
