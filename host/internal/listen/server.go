package listen

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"
)

// Limits of connections, requests and headers of clients.
const (
	headerTime     = 10 * time.Second
	readTime       = 60 * time.Second // headers and body
	writeTime      = 120 * time.Second
	idleTime       = 120 * time.Second
	maxHeader      = 256 << 10 // bytes; a GET carries its event there
	maxConnections = 2048
	maxStreams     = 16 // of HTTP/2, in each connection
)

// Options say where and what a Server serves.
type Options struct {
	Address   string // host:port; port 0: any that is free
	Cert, Key string // files; "": without TLS
	Handler   http.Handler
	Log       *slog.Logger // of panics of Handler, and of certificates that cannot be loaded
}

// Server is an HTTP server that listens. Its owner calls Serve, and Shutdown or
// Close.
type Server struct {
	http     *http.Server
	listener net.Listener
	secure   bool
	current  *certificate // nil: without TLS
}

// Open listens on an address. Connections wait until Serve is called.
func Open(ctx context.Context, o Options) (*Server, error) {
	inner, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	s := &Server{secure: o.Cert != "", listener: inner, http: &http.Server{
		Handler: guarded(o.Handler, o.Log), ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// Its messages name addresses of clients.
		ErrorLog: log.New(io.Discard, "", 0),
	}}
	if s.secure {
		if s.current, err = certificates(o.Cert, o.Key, o.Log); err != nil {
			return nil, errors.Join(err, inner.Close())
		}
		s.http.TLSConfig = s.current.config()
	}
	return s, nil
}

// Address returns the address that the server listens on, with its port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Secure reports whether the server takes TLS only.
func (s *Server) Secure() bool { return s.secure }

// ReloadCertificate reads the certificate and its key again, which new connections get.
// After an error they get the one before.
func (s *Server) ReloadCertificate(ctx context.Context) error {
	if s.current == nil {
		return nil
	}
	return s.current.reload(ctx)
}

// Serve serves connections until Shutdown or Close, and then returns nil.
func (s *Server) Serve() error {
	limited := Limit(s.listener, maxConnections)
	serve := s.http.Serve
	if s.secure {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(limited); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no more requests and waits for those in flight, until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Close closes the listener and all connections.
func (s *Server) Close() error { return errors.Join(s.http.Close(), ignoreClosed(s.listener.Close())) }

// ignoreClosed returns nil for the error of a listener that is closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// guarded logs a panic of a handler without naming the client.
func guarded(handler http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("a request failed", "panic", p, "stack", string(debug.Stack()))
				panic(http.ErrAbortHandler)
			}
		}()
		handler.ServeHTTP(w, r)
	})
}
