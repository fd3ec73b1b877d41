package collector

import (
	"crypto/sha256"
	"fmt"
	"strconv"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Access is who may send besides holders of a project's token, and from which pages.
type Access struct {
	APISecret string // of older clients, for all projects; none
	Accounts  []Account

	// Origins are scheme://host, with :port where it is not the scheme's.
	CORSOrigins     []string
	RedirectOrigins []string
}

// Settings are the options that Set replaces while requests are served.
type Settings struct {
	Projects []Project // required
	Access   Access
	MaxBody  int64      // bytes of a body, decompressed; 0: 10,000,000
	Geo      schema.Geo // nil: none
}

// settings are Settings as requests use them. A request uses those that it began with.
// They do not change.
type settings struct {
	projects []Project
	byToken  map[string]*Project
	byID     map[string]*Project
	maxBody  int64
	geo      schema.Geo

	accounts  []credentials
	hasSecret bool
	secret    [sha256.Size]byte // of APISecret
	cors      map[string]bool
	redirect  map[string]bool
}

// defaultMaxBody is the MaxBody of Mixpanel's own servers.
const defaultMaxBody = 10_000_000

// Set replaces the settings. Requests that have begun are answered as before. After an
// error, that of a project without a token of its own, nothing has changed.
func (c *Collector) Set(s Settings) error {
	next, err := newSettings(s)
	if err == nil {
		c.settings.Store(next)
	}
	return err
}

// Check returns the error that Set would return.
func Check(s Settings) error {
	_, err := newSettings(s)
	return err
}

func newSettings(s Settings) (*settings, error) {
	x := &settings{
		projects: s.Projects, byToken: map[string]*Project{}, byID: map[string]*Project{}, maxBody: s.MaxBody, geo: s.Geo,
		hasSecret: s.Access.APISecret != "", secret: sha256.Sum256([]byte(s.Access.APISecret)),
		cors: origins(s.Access.CORSOrigins), redirect: origins(s.Access.RedirectOrigins),
	}
	if x.maxBody == 0 {
		x.maxBody = defaultMaxBody
	}
	for i := range x.projects {
		p := &x.projects[i]
		if p.Token == "" || x.byToken[p.Token] != nil {
			return nil, fmt.Errorf("project %d needs a token of its own", p.ID)
		}
		x.byToken[p.Token] = p
		x.byID[strconv.FormatInt(p.ID, 10)] = p
	}
	for _, account := range s.Access.Accounts {
		x.accounts = append(x.accounts, credentials{sha256.Sum256([]byte(account.Username)), sha256.Sum256([]byte(account.Secret))})
	}
	return x, nil
}
