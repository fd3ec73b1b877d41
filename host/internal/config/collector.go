package config

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Secret is a text that does not print.
type Secret string

// Format prints that something is hidden, whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hiddenText) }

// MarshalJSON hides the secret.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(hiddenText) }

// Collector is a source block of type collector.
type Collector struct {
	Place
	Name            string
	Projects        []*Project // each has a token, and no two the same
	Listen          string     // host:port
	TLSCert, TLSKey string     // absolute; "": none
	APISecret       Secret     // "": none
	Accounts        []Account
	CORSOrigins     []string
	RedirectOrigins []string
	GeoIP           string // absolute; "": none
	MaxBody         int64  // bytes, decompressed
}

// Account is a service account that may import.
type Account struct {
	Name, Username string
	Secret         Secret
}

// Reference is how other blocks and cursors name the source.
func (c *Collector) Reference() string { return "collector." + c.Name }

func (l *loader) decodeCollector(raw *hclsyntax.Block) {
	b := l.read(raw, collectorBlock)
	c := &Collector{
		Place: b.place(), Name: raw.Labels[1], Listen: b.text("listen"), TLSCert: b.text("tls_cert"), TLSKey: b.text("tls_key"),
		APISecret: Secret(b.text("api_secret")), CORSOrigins: b.list("cors_origins"), RedirectOrigins: b.list("redirect_origins"),
		GeoIP: b.text("geoip"), MaxBody: b.integer("max_body"), Projects: b.collected(),
	}
	for _, inner := range b.blocks["service_account"] {
		c.Accounts = append(c.Accounts, Account{Name: inner.raw.Labels[0], Username: inner.text("username"), Secret: Secret(inner.text("secret"))})
	}
	b.checkPair("tls_cert", "tls_key")
	if c.Listen != "" && !loopback(c.Listen) && !b.isIntended("tls_cert") && !b.isIntended("tls_key") && !b.flag("insecure") && !b.isMistaken("insecure") {
		l.fail(b.at("listen"), "Listens beyond this machine without TLS",
			"Other machines may reach this address: set tls_cert and tls_key, or insecure = true when something in front of it takes care of TLS.")
	}
	b.checkTokens(c.Projects)
	l.config.Collectors = append(l.config.Collectors, c)
}

// collected are the projects that a collector collects for.
func (b *body) collected() []*Project {
	switch {
	case b.has("project") && b.has("projects"):
		b.l.fail(b.at("projects"), "Attributes exclude each other", "%s sets \"project\" and \"projects\": use one of them.", b.what)
	case !b.isIntended("project") && !b.isIntended("projects"):
		b.l.fail(b.raw.DefRange().Ptr(), "Missing attribute", "%s needs \"project\", or \"projects\" with the names of several.", b.what)
	}
	var projects []*Project
	if p := b.project("project"); p != nil {
		projects = append(projects, p)
	}
	for _, name := range b.list("projects") {
		if p := b.l.project(name, b.at("projects"), b.values["projects"].secret); p != nil && !slices.Contains(projects, p) {
			projects = append(projects, p)
		}
	}
	return projects
}

// checkTokens checks that each token names one project.
func (b *body) checkTokens(projects []*Project) {
	at := func(p *Project) *hcl.Range {
		r := p.AttributeRange("token")
		return &r
	}
	byToken := map[string]*Project{}
	for _, p := range projects {
		other := byToken[p.Token]
		switch {
		case p.Token == "" && !p.hasToken:
			b.l.fail(at(p), "Missing token", "%s collects for the project %q, which needs \"token\": clients name the project by it.", b.what, p.Name)
		case p.Token != "" && other != nil:
			b.l.fail(at(p), "Token used twice", "The project %q has the same token, and %s could not tell their records apart.", other.Name, b.what)
		}
		byToken[p.Token] = p
	}
}
