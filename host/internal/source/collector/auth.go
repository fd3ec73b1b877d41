package collector

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// credentials are hashes: comparing them takes the same time for texts of any
// length.
type credentials struct {
	username, secret [sha256.Size]byte
}

func same(a, b [sha256.Size]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// basic reads the header Authorization. Some clients send name and password
// without encoding them.
func basic(r *http.Request) (username, password string, ok bool) {
	if username, password, ok = r.BasicAuth(); ok {
		return username, password, true
	}
	const scheme = "basic "
	header := r.Header.Get("Authorization")
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", "", false
	}
	return strings.Cut(strings.TrimSpace(header[len(scheme):]), ":")
}

// grant is the project that a request may import into; without one, each record
// goes to the project that its token names.
type grant struct {
	project *Project
}

// authorize checks the credentials of a request to /import.
func (q *request) authorize() (grant, *failure) {
	username, password, ok := basic(q.r)
	if !ok && q.r.Header.Get("Authorization") != "" {
		return grant{}, errCredentials
	}
	if !ok {
		return q.key(q.apiKey)
	}
	if password == "" {
		return q.key(username)
	}
	given := credentials{sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))}
	found := false
	for _, a := range q.settings.accounts {
		// All are compared.
		found = same(a.username, given.username) && same(a.secret, given.secret) || found
	}
	switch p := q.settings.byID[q.projectID]; {
	case !found:
		return grant{}, errCredentials
	case q.projectID == "":
		return grant{}, errProjectID
	case p == nil:
		return grant{}, errCredentials
	default:
		return grant{p}, nil
	}
}

// key checks an API secret or a token.
func (q *request) key(key string) (grant, *failure) {
	if p := q.settings.byToken[key]; p != nil {
		if q.projectID != "" && q.settings.byID[q.projectID] != p {
			return grant{}, errCredentials
		}
		return grant{p}, nil
	}
	if a := q.settings; !a.hasSecret || !same(a.secret, sha256.Sum256([]byte(key))) {
		return grant{}, errCredentials
	}
	if q.projectID == "" {
		if len(q.settings.projects) == 1 {
			return grant{&q.settings.projects[0]}, nil
		}
		return grant{}, nil
	}
	if p := q.settings.byID[q.projectID]; p != nil {
		return grant{p}, nil
	}
	return grant{}, errCredentials
}

// named is the project that the record's token names, or that of the request.
// known is false when a token names none.
func (q *request) named(token []byte) (p *Project, known bool) {
	if len(token) != 0 {
		p = q.settings.byToken[string(token)]
		return p, p != nil
	}
	if username, _, ok := basic(q.r); ok && q.settings.byToken[username] != nil {
		return q.settings.byToken[username], true
	}
	return q.settings.byToken[q.apiKey], true
}
