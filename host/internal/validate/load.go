package validate

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Options select the files to load and the checks to make.
type Options struct {
	Paths []string // files, and directories of *.hcl
	// Offline starts no plugin and reads no catalog. Variables and files that are
	// missing here are warnings: the machine that runs the host may have them.
	Offline bool
	// Command loads for a command in the data directory: as Offline, but the
	// values that a command needs must be known, and the others may be missing.
	Command bool
	// Describe asks plugins for their schemas also with Command, which otherwise
	// takes those that were kept.
	Describe bool
	// Ask has plugins check their destinations, which starts a process for each.
	// They are asked in any case when there is another mistake, so that all are
	// reported at once.
	Ask bool
}

// Load reads a configuration. Mistakes are a *ConfigurationError. The
// diagnostics, which may be warnings, and the configuration as far as it could
// be read are returned with an error, too.
func Load(ctx context.Context, o Options) (*config.Config, diagnostic.Found, error) {
	stored := &stored{ctx: ctx}
	defer stored.close()
	noPlugins := (o.Offline || o.Command) && !o.Describe
	user := &pluginUser{ignored: noPlugins}
	c, list := config.Load(ctx, config.Options{
		Paths: o.Paths, Offline: o.Offline, Command: o.Command, Now: time.Now(), Env: os.LookupEnv,
		Schema: schemas(noPlugins, user), Types: types, Registered: stored.registered, User: user.find,
	})
	list = append(list, compare(c, stored, o)...)
	if !o.Offline && !o.Command && user.err == nil && (o.Ask || list.HasErrors()) {
		list = append(list, consult(ctx, c, user.user, !list.HasErrors(), stored)...)
	}
	if o.Ask && !o.Offline {
		list = append(list, unmatched(ctx, c)...)
	}
	diagnostic.Sort(list)
	if len(c.Unset) > 0 && !list.HasErrors() {
		list = append(list, &hcl.Diagnostic{
			Severity: hcl.DiagWarning, Summary: "Values not known here",
			Detail: fmt.Sprintf("%s: there is no such variable or file. This command does not need it.", strings.Join(c.Unset, ", ")),
		})
	}
	diagnostics := diagnostic.Found{List: list, Sources: c.Files}
	if list.HasErrors() {
		return c, diagnostics, &diagnostic.ConfigurationError{Diagnostics: diagnostics}
	}
	return c, diagnostics, nil
}

// pluginUser is the user that plugins run as while a configuration is loaded.
type pluginUser struct {
	ignored bool // no plugin is started
	user    *plugin.User
	err     error
}

// find looks for the user that the host block names.
func (u *pluginUser) find(name string) error {
	if !u.ignored && name != "" {
		u.user, u.err = plugin.FindUser(name)
	}
	return u.err
}

// schemas returns a function that looks up the schema of a destination type: it
// asks the plugin, or, offline or without the user that it is to run as, reads the
// description that was kept when the plugin was pinned or last used.
func schemas(offline bool, user *pluginUser) func(context.Context, string, string) (schema.Schema, error) {
	known := map[string]schema.Schema{}
	return func(ctx context.Context, dir, typ string) (schema.Schema, error) {
		if s, ok := known[typ]; ok {
			return s, nil
		}
		manager := plugin.NewManager(plugin.Options{Dir: dir, CacheDir: plugin.UserCacheDir(), User: user.user})
		describe := manager.Describe
		if offline || user.err != nil {
			describe = func(_ context.Context, typ string) (protocol.Description, error) { return manager.Described(typ) }
		}
		d, err := describe(ctx, typ)
		if err != nil {
			return schema.Schema{}, err
		}
		known[typ] = d.Schema
		return d.Schema, nil
	}
}

// types are the destination types of which a plugin directory holds a plugin
// that can be used.
func types(dir string) []string {
	// The plugin's own error reports a directory that cannot be read.
	entries, _ := plugin.NewManager(plugin.Options{Dir: dir}).Dir().List()
	var found []string
	for _, e := range entries {
		if e.State == plugin.Pinned {
			found = append(found, e.Type)
		}
	}
	return found
}
