package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstock-io/penstock/host/internal/listen"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// maxRequests is how many requests of operations are carried out at the same time.
const maxRequests = 64

// Options say where a Server listens and which host it serves. All are required but the
// certificate.
type Options struct {
	Address   string // host:port
	Cert, Key string // files; "": without TLS
	Token     string // not ""

	Operations operation.Operations
	// CodeOf returns the code of an error of an operation.
	CodeOf func(error) operation.Code
	// Ready returns the conditions under which the host works as it should.
	Ready func(context.Context) []operation.Readiness
	// Metrics writes the metrics in Prometheus' text format.
	Metrics func(context.Context, io.Writer) error
	Now     func() time.Time
	Log     *slog.Logger
}

// Server serves a host's API on a port. It may be used concurrently.
type Server struct {
	o        *Options
	listener *listen.Server
	guard    *guard
	probes   *probes
	slots    chan struct{}   // one for each operation that is carried out
	until    context.Context // ends when the host stops
}

// Open listens. Connections wait until Serve is called. Operations are cancelled when ctx
// is done.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Token == "" {
		return nil, errors.New("api: a port is not served without a token")
	}
	s := &Server{
		o: &o, guard: &guard{address: o.Address}, slots: make(chan struct{}, maxRequests), until: ctx,
		probes: &probes{ready: o.Ready, now: o.Now, until: ctx, looking: make(chan struct{}, 1)},
	}
	s.guard.certifies = func(name string) bool { return s.listener.Certifies(name) }
	s.guard.setToken(o.Token)
	cert, err := listen.LoadCertificate(o.Cert, o.Key, o.Log)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	l, err := listen.Open(ctx, listen.Options{Address: o.Address, Certificate: cert, Handler: s.handler(), Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s.listener = l
	return s, nil
}

// Address returns the address that the server listens on, with its port.
func (s *Server) Address() string { return s.listener.Address() }

// Reload takes over a token, and reads the certificate again. After an error connections
// get the certificate before. Connections stay open.
func (s *Server) Reload(ctx context.Context, token string) error {
	s.guard.setToken(token)
	if err := s.listener.ReloadCertificate(ctx); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// Serve serves connections until Close, and then returns nil.
func (s *Server) Serve() error {
	if err := s.listener.Serve(); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// Close takes no more requests, and waits for those in flight until ctx is done. Then it
// cuts them. It may be called again.
func (s *Server) Close(ctx context.Context) error {
	_ = s.listener.Shutdown(ctx) // requests that have not ended are cut
	return s.listener.Close()
}

// handler returns the handler of all paths.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, e := range endpoints(s.o.Operations) {
		mux.Handle(e.method+" "+base+e.path, s.operation(e))
	}
	mux.HandleFunc("GET "+base+"/openapi.json", serveDocument)
	mux.HandleFunc("GET /metrics", s.serveMetrics)
	public := http.NewServeMux()
	public.HandleFunc("GET /healthz", serveHealth)
	public.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { s.probes.serve(w, s.guard.carriesToken(r)) })
	public.Handle("/", s.guard.authenticated(routed(mux)))
	return s.guard.sameSite(public)
}
