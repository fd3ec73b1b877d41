package host

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/penstock-io/penstock/host/internal/plugin"
)

// Plugins manages a plugin directory.
type Plugins struct {
	manager *plugin.Manager
	err     error // why no plugin can be run; nil: one can
}

// OpenPlugins returns the manager of a plugin directory. Plugins that it runs, to
// pin or to describe them, run as user, or as this process if user is "".
func OpenPlugins(dir, user string) *Plugins {
	as, err := plugin.LookupUser(user)
	return &Plugins{plugin.NewManager(plugin.Options{Dir: dir, CacheDir: plugin.UserCacheDir(), User: as}), err}
}

// PluginStatus is one plugin of a directory.
type PluginStatus = plugin.Entry

// List lists plugins and whether their checksums are the pinned ones.
func (p *Plugins) List() ([]PluginStatus, error) { return p.manager.Dir().List() }

// Install copies a plugin into the directory and pins it.
func (p *Plugins) Install(ctx context.Context, file string) (PluginStatus, error) {
	if p.err != nil {
		return PluginStatus{}, p.err
	}
	return p.manager.Dir().Install(ctx, file)
}

// Remove removes a plugin and its pin.
func (p *Plugins) Remove(name string) error { return p.manager.Dir().Remove(typeOf(name)) }

// Trust pins plugins that lie in the directory; without names all of them, and
// the lock then names no others.
func (p *Plugins) Trust(ctx context.Context, names []string) ([]PluginStatus, error) {
	if p.err != nil {
		return nil, p.err
	}
	if len(names) == 0 {
		return p.manager.Dir().WriteLock(ctx)
	}
	var trusted []PluginStatus
	for _, name := range names {
		entry, err := p.manager.Dir().Trust(ctx, typeOf(name))
		if err != nil {
			return trusted, err
		}
		trusted = append(trusted, entry)
	}
	return trusted, nil
}

// typeOf takes a plugin's type or its file's name.
func typeOf(name string) string {
	return strings.TrimPrefix(name[strings.LastIndexByte(name, '/')+1:], plugin.Prefix)
}

// PluginDescription describes a plugin and the attributes of its destination
// blocks.
type PluginDescription struct {
	Name          string            `json:"name"`
	Version       string            `json:"version"`
	Streams       []string          `json:"streams"`
	Guarantee     string            `json:"guarantee"`
	GuaranteeText string            `json:"guarantee_text"`
	Attributes    []PluginAttribute `json:"attributes"`
	Environment   []string          `json:"environment"` // variables that it reads beyond the common ones
}

// PluginAttribute is an attribute of a destination block.
type PluginAttribute struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Required    bool     `json:"required,omitempty"`
	Sensitive   bool     `json:"sensitive,omitempty"`
	Default     string   `json:"default,omitempty"`
	Allowed     []string `json:"allowed,omitempty"`
	Description string   `json:"description"`
	Deprecated  string   `json:"deprecated,omitempty"`
}

// Describe starts a plugin and asks for its description.
func (p *Plugins) Describe(ctx context.Context, name string) (*PluginDescription, error) {
	if p.err != nil {
		return nil, p.err
	}
	d, err := p.manager.Describe(ctx, typeOf(name))
	if err != nil {
		return nil, err
	}
	out := &PluginDescription{
		Name: d.Name, Version: d.Version, Guarantee: d.Capabilities.Guarantee.String(), GuaranteeText: d.Capabilities.GuaranteeText,
		Attributes: []PluginAttribute{}, Environment: append([]string{}, d.Environment...),
	}
	for _, s := range d.Capabilities.Streams {
		out.Streams = append(out.Streams, s.String())
	}
	for _, a := range d.Schema.Attributes {
		shown := ""
		if a.Default != nil {
			text, err := json.Marshal(a.Default)
			if err != nil {
				return nil, err
			}
			shown = string(text)
		}
		out.Attributes = append(out.Attributes, PluginAttribute{
			Name: a.Name, Type: a.Type.String(), Required: a.Required, Sensitive: a.Sensitive, Default: shown,
			Allowed: a.Allowed, Description: a.Description, Deprecated: a.Deprecated,
		})
	}
	return out, nil
}
