package host

import (
	"context"
	"io"
	"time"

	"github.com/penstock-io/penstock/host/internal/httpapi"
	"github.com/penstock-io/penstock/host/internal/metrics"
	"github.com/penstock-io/penstock/host/internal/service"
)

// port serves the API on a port, if one is configured.
type port struct{ server *httpapi.Server } // nil: none is

// open listens, if an address is configured. Operations that the port answers end when ctx
// is done.
func (p *port) open(ctx context.Context, h *Host, answers *service.Service) error {
	c := h.reload.live.Get().API
	if c.Listen == "" {
		return nil
	}
	server, err := httpapi.Open(ctx, httpapi.Options{
		Address: c.Listen, Cert: c.TLSCert, Key: c.TLSKey, Token: string(c.Token),
		Operations: answers, CodeOf: service.CodeOf, Ready: answers.Ready, Now: time.Now,
		Metrics: func(ctx context.Context, w io.Writer) error {
			return metrics.Write(ctx, w, answers.Measure, time.Now())
		},
		Log: h.log.With("api", c.Listen),
	})
	if err != nil {
		return err
	}
	p.server = server
	h.log.Info("the API listens", "listen", server.Address(), "tls", c.TLSCert != "")
	return nil
}

// serve serves requests until close.
func (p *port) serve(context.Context) error {
	if p.server == nil {
		return nil
	}
	return p.server.Serve()
}

// close takes no more requests, and waits for those in flight until ctx is done.
func (p *port) close(ctx context.Context) error {
	if p.server == nil {
		return nil
	}
	return p.server.Close(ctx)
}

// reload takes over the token of a configuration, and reads the certificate again.
func (p *port) reload(ctx context.Context, token string) error {
	if p.server == nil {
		return nil
	}
	return p.server.Reload(ctx, token)
}
