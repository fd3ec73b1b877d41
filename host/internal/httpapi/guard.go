package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
)

// guard refuses requests that may not reach an operation. It may be used concurrently.
type guard struct {
	address   string                            // as configured, host:port
	certifies func(name string) bool            // whether the certificate is for a name
	token     atomic.Pointer[[sha256.Size]byte] // digest of the token
}

func (g *guard) setToken(token string) {
	digest := sha256.Sum256([]byte(token))
	g.token.Store(&digest)
}

// sameSite refuses requests for other names than those of this host, and requests that
// pages of other sites have made.
//
// A page whose name resolves to this machine (DNS rebinding) sends that name as Host. The
// names of this host are those of the loopback interface, the host of the configured
// address, the names in the certificate, and the address at which the connection has
// arrived, which probes of an orchestrator use. A page of another site sends its own site
// as Origin; here the only allowed one is the server itself.
func (g *guard) sameSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case !g.isOwn(hostName(r.Host), r):
			refuse(w, http.StatusMisdirectedRequest, codeWrongHost,
				"the Host of the request is not a name of this host: use localhost, the host of api.listen, or a name in its certificate")
		case !isSameOrigin(r):
			refuse(w, http.StatusForbidden, codeWrongOrigin, "requests of pages of other sites are refused")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// hostName returns the name or address in a Host header, without its port.
func hostName(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

// isOwn reports whether a name is one of this host's.
func (g *guard) isOwn(name string, r *http.Request) bool {
	if name == "" {
		return false
	}
	if name == "localhost" || name == hostName(g.address) || g.certifies(name) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return ip.IsLoopback()
	}
	arrived, err := netip.ParseAddrPort(local.String())
	return ip.IsLoopback() || err == nil && ip.Unmap() == arrived.Addr().Unmap().WithZone("")
}

// isSameOrigin reports whether a request was made by a page of this server, or by no page.
func isSameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	return len(origins) <= 1
}

// authenticated refuses requests that do not carry the token.
func (g *guard) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.carriesToken(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="penstock"`)
			// A body that was not read is not waited for.
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusUnauthorized, codeUnauthorized, "the request does not carry the token of the api block: Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// carriesToken reports whether a request carries the token. Its digests are compared in
// constant time, so that the time tells neither the token nor its length.
func (g *guard) carriesToken(r *http.Request) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	digest := sha256.Sum256([]byte(strings.TrimLeft(token, " ")))
	return subtle.ConstantTimeCompare(digest[:], g.token.Load()[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
