package config

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func (l *loader) refuseUnknownBlocks() {
	for _, b := range l.blocks {
		known := false
		for _, t := range blockTypes {
			known = known || b.Type == t
		}
		if !known {
			l.fail(b.TypeRange.Ptr(), "Unknown block", "There is no block %q.%s", b.Type, suggest(b.Type, "blocks", blockTypes))
		}
	}
}

func (l *loader) decodeHost() {
	blocks := l.ofType("host")
	var b *body
	for i, raw := range blocks {
		switch {
		case i > 0:
			first := blocks[0].DefRange()
			l.fail(raw.DefRange().Ptr(), "Block defined twice", "There can be one host block, and another is at %s:%d. Put the attributes of both into one.", first.Filename, first.Start.Line)
		default:
			l.labelled(raw, nil)
			b = l.read(raw, hostBlock) // defaults for its attributes would cause further mistakes
		}
	}
	if b == nil {
		b = &body{l: l, spec: hostBlock, raw: &hclsyntax.Block{}}
	}
	h := &l.config.Host
	h.Place = b.place()
	h.DataDir = b.directory("data_dir")
	h.PluginDir = b.directory("plugin_dir")
	if h.Blobs = b.directory("blobs"); h.Blobs == "" && !b.has("blobs") && h.DataDir != "" {
		h.Blobs = filepath.Join(h.DataDir, "blobs")
	}
	h.PluginUser = b.text("plugin_user")
	if err := l.options.User(h.PluginUser); h.PluginUser != "" && err != nil {
		l.fail(b.at("plugin_user"), "Plugins cannot run as this user", "plugin_user is %q: %v.", h.PluginUser, err)
	}
	h.Memory = b.integer("memory")
	h.Retention = time.Duration(b.integer("retention"))
	h.MaxBackfill, _ = parseBackfill(b.text("max_backfill")) // a wrong text was reported
	if err := h.LogLevel.UnmarshalText([]byte(b.text("log_level"))); err != nil {
		h.LogLevel = slog.LevelInfo // a wrong text was reported
	}
	h.LogJSON = b.text("log_format") == "json"
	for _, api := range b.blocks["api"] {
		l.config.API = api.decodeAPI()
	}
}

// directory is a path. It is "" when the given one is not known or mistaken, so that no
// command works in the default directory instead.
func (b *body) directory(name string) string {
	if v, given := b.values[name]; given && v.constant == nil || b.isMistaken(name) {
		return ""
	}
	return b.text(name)
}

// decodeAPI reads the api block. Its attributes depend on each other.
func (b *body) decodeAPI() API {
	a := API{
		Place: b.place(), Listen: b.text("listen"), Token: Secret(b.text("token")), TLSCert: b.text("tls_cert"), TLSKey: b.text("tls_key"),
	}
	b.checkPair("tls_cert", "tls_key")
	if b.has("listen") && !b.isIntended("token") {
		b.l.fail(b.at("listen"), "Missing attribute", "api needs \"token\" when it listens: anyone who reaches the address could control the host otherwise.")
	}
	if !b.isIntended("listen") {
		b.l.warn(b.raw.DefRange().Ptr(), "The API does not listen", "api has no \"listen\", so that nothing is served: set an address such as \"127.0.0.1:8090\", or remove the block.")
	}
	if a.Listen != "" && !loopback(a.Listen) && !b.isIntended("tls_cert") && !b.isIntended("tls_key") {
		b.l.fail(b.at("listen"), "Listens beyond this machine without TLS",
			"Other machines may reach this address, and could read the token: set tls_cert and tls_key, or listen on 127.0.0.1 and put a proxy with TLS in front.")
	}
	return a
}

// checkPair checks that two attributes are set together.
func (b *body) checkPair(one, other string) {
	if b.isIntended(one) == b.isIntended(other) {
		return
	}
	if b.isIntended(other) {
		one, other = other, one
	}
	b.l.fail(b.at(one), "Missing attribute", "%s sets %q without %q: they belong together.", b.what, one, other)
}
