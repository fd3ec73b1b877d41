package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
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
	Address     string       // host:port; port 0: any that is free
	Certificate *Certificate // nil: without TLS
	Handler     http.Handler
	Log         *slog.Logger // of panics of handlers
}

// Server is an HTTP server that listens. Its owner calls Serve, and Shutdown or
// Close. Its handler and its certificate may be replaced while it serves.
type Server struct {
	http     *http.Server
	listener net.Listener
	log      *slog.Logger
	current  atomic.Pointer[Certificate] // nil: without TLS

	mu   sync.Mutex
	turn *turn // guarded by mu
}

// turn is the time in which one handler gets the requests.
type turn struct {
	handler  http.Handler
	requests sync.WaitGroup // of this turn; added to with the server's mu, while it is the present turn
}

// ended returns when all requests of a turn that is over have ended, or the cause of
// ctx's end.
func (t *turn) ended(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.requests.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Open listens on an address. Connections wait until Serve is called.
func Open(ctx context.Context, o Options) (*Server, error) {
	inner, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: inner, log: o.Log, turn: &turn{handler: o.Handler}}
	s.Use(o.Certificate)
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeader, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// Its messages name addresses of clients.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return s, nil
}

// Handle replaces the handler of requests. Those that have begun are answered by the one
// before: ended returns when all of them have ended, or the cause of its context's end.
func (s *Server) Handle(h http.Handler) (ended func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.turn
	s.turn = &turn{handler: h}
	return before.ended
}

// begin begins a request of the present turn. The caller calls Done of its requests.
func (s *Server) begin() *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn.requests.Add(1)
	return s.turn
}

// Use replaces the certificate of new connections; nil: they are without TLS.
func (s *Server) Use(c *Certificate) { s.current.Store(c) }

// Certificate returns the certificate of new connections; nil: they are without TLS.
func (s *Server) Certificate() *Certificate { return s.current.Load() }

// Address returns the address that the server listens on, with its port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Secure reports whether new connections are with TLS only.
func (s *Server) Secure() bool { return s.current.Load() != nil }

// ReloadCertificate reads the certificate and its key again, which new connections get.
// After an error they get the one before.
func (s *Server) ReloadCertificate(ctx context.Context) error {
	if c := s.current.Load(); c != nil {
		return c.Reload(ctx)
	}
	return nil
}

// Certifies reports whether the certificate that new connections get is for a name or an
// address. Without TLS it is for none.
func (s *Server) Certifies(name string) bool {
	c := s.current.Load()
	if c == nil {
		return false
	}
	leaf := c.current.Load().loaded.Leaf
	return leaf != nil && leaf.VerifyHostname(name) == nil
}

// Serve serves connections until Shutdown or Close, and then returns nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(&secured{Limit(s.listener, maxConnections), s}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// secured is a listener whose connections have the server's present certificate.
type secured struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *secured) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if c := l.server.current.Load(); c != nil {
		return tls.Server(conn, c.config), nil
	}
	return conn, nil
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

// serve has the present handler answer a request. It logs a panic without naming the
// client.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	t := s.begin()
	defer t.requests.Done()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a request failed", "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler)
		}
	}()
	t.handler.ServeHTTP(w, r)
}
