package sdk

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/sdk/protocol"
)

const (
	// drainTimeout is how long SIGTERM lets what is open come to its end; then
	// it is aborted. A service manager kills after 90 s, a container after 10.
	drainTimeout = 6 * time.Second

	// flushTimeout is how long the last answers have to leave the process.
	// go-plugin's own streams never end, so that there is nothing to wait for.
	flushTimeout = 300 * time.Millisecond

	// exitTimeout is how long aborts and Close may take then.
	exitTimeout = 3 * time.Second
)

// Serve runs a plugin's process and returns when it is to end. main does
// nothing else:
//
//	func main() { sdk.Serve(ndjson.Plugin()) }
//
// The process ends when its host does. SIGTERM has it finish what is open,
// for a few seconds at most; SIGINT is ignored, since a terminal sends it to
// host and plugins alike. Whatever the process prints reaches the host's log.
// Started by a person it explains itself; --version and --describe answer.
// Mistakes in p are printed, and the process exits with status 1.
func Serve(p Plugin) {
	if os.Getenv(protocol.Handshake.MagicCookieKey) != protocol.Handshake.MagicCookieValue {
		os.Exit(talk(p, os.Args[1:], os.Stdout, os.Stderr))
	}
	if err := serve(p); err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
}

func serve(p Plugin) error {
	stdio, err := divertStdout()
	if err != nil {
		return fmt.Errorf("divert standard output: %w", err)
	}
	log := hclog.New(&hclog.LoggerOptions{Name: p.Name, Level: hclog.Debug, Output: os.Stderr, JSONFormat: true})
	s, err := newServer(p, log)
	if err != nil {
		return fmt.Errorf("bug in the plugin: %w", err)
	}
	go watchParent(log)
	var rpc *grpc.Server
	ready := make(chan struct{})
	go stopOnSignal(s, log, func() { <-ready; stop(rpc) })
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.Plugins(s),
		Logger:           log,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(append(opts, protocol.ServerOptions()...), stdio.interceptors()...)
			rpc = grpc.NewServer(opts...)
			close(ready)
			return rpc
		},
	})
	return s.end(exitTimeout)
}

// stopOnSignal runs until the process ends.
func stopOnSignal(s *server, log hclog.Logger, stop func()) {
	signal.Ignore(os.Interrupt)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	log.Debug("stopping: SIGTERM")
	timeout := time.NewTimer(drainTimeout)
	defer timeout.Stop()
	select {
	case <-s.drain():
	case <-timeout.C:
		log.Warn("an export was still open and is aborted")
	}
	stop()
}

// stop sends what was answered and then closes the connections.
func stop(rpc *grpc.Server) {
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		rpc.GracefulStop()
	}()
	flushed := time.NewTimer(flushTimeout)
	defer flushed.Stop()
	select {
	case <-graceful:
	case <-flushed.C:
		rpc.Stop()
		<-graceful
	}
}

// end waits until the calls of a server that was stopped are over and frees
// the destinations.
func (s *server) end(limit time.Duration) error {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-s.drain():
	case <-timeout.C:
		return errors.New("an export did not end when it was aborted")
	}
	closed := make(chan error, 1)
	go func() { closed <- s.close() }()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("close: %w", err)
		}
		return nil
	case <-timeout.C:
		return errors.New("a destination did not close in time")
	}
}
