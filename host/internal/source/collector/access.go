package collector

import "crypto/sha256"

// Access is who may send besides holders of a project's token, and from which pages.
type Access struct {
	APISecret string // of older clients, for all projects; none
	Accounts  []Account

	// Origins are scheme://host, with :port where it is not the scheme's.
	CORSOrigins     []string
	RedirectOrigins []string
}

// access is an Access as requests are compared with it. It does not change.
type access struct {
	accounts  []credentials
	hasSecret bool
	secret    [sha256.Size]byte // of APISecret
	cors      map[string]bool
	redirect  map[string]bool
}

// SetAccess replaces the access of the options. Requests that were let in before are
// answered as before.
func (c *Collector) SetAccess(a Access) {
	x := &access{
		hasSecret: a.APISecret != "", secret: sha256.Sum256([]byte(a.APISecret)), cors: origins(a.CORSOrigins), redirect: origins(a.RedirectOrigins),
	}
	for _, account := range a.Accounts {
		x.accounts = append(x.accounts, credentials{sha256.Sum256([]byte(account.Username)), sha256.Sum256([]byte(account.Secret))})
	}
	c.access.Store(x)
}
