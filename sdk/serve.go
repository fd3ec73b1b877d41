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
	// drainTimeout is the time that open exports have to finish after SIGTERM;
	// then they are aborted. A service manager kills after 90 s, a container
	// after 10.
	drainTimeout = 5 * time.Second

	// flushTimeout is how long the last answers have to reach a host that
	// reads slowly. One that reads has them at once.
	flushTimeout = 2 * time.Second

	// abortFlush is flushTimeout after exports were aborted: an export that was
	// answering then still sends its answer.
	abortFlush = time.Second

	// exitTimeout is how long aborts and Close may take then.
	exitTimeout = 3 * time.Second
)

// Serve runs a plugin's process and returns when the process should end. A
// plugin's main only calls Serve:
//
//	func main() { sdk.Serve(ndjson.Plugin()) }
//
// The process ends when its host does. After SIGTERM it finishes open exports,
// for a few seconds at most; it ignores SIGINT, since a terminal sends it to
// host and plugins alike. The process's output is written to the host's log.
// On Linux other processes of the same user cannot read its memory and
// environment, unless GOTRACEBACK=crash asks for core dumps.
// A process that a person starts prints an explanation, or answers --version
// and --describe. Mistakes in p are printed, and the process exits with
// status 1.
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
	if err := hideMemory(); err != nil {
		log.Warn("other processes of this user may read the plugin's memory and environment", "error", err)
	}
	s, err := newServer(p, log)
	if err != nil {
		return fmt.Errorf("bug in the plugin: %w", err)
	}
	go watchParent(log)
	var rpc *grpc.Server
	streams := newStreams()
	ready := make(chan struct{})
	go func() {
		limit := flushTimeout
		if !drainOnSignal(s, log) {
			limit = abortFlush
			streams.abort()
		}
		<-ready
		streams.end()
		stop(rpc, limit)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.Plugins(s),
		Logger:           log,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(append(opts, protocol.ServerOptions()...), stdio.interceptors()...)
			rpc = grpc.NewServer(append(opts, grpc.ChainStreamInterceptor(streams.intercept))...)
			close(ready)
			return rpc
		},
	})
	return s.end(exitTimeout)
}

// drainOnSignal waits for SIGTERM, and then until no export is open. It reports
// whether all exports ended within drainTimeout.
func drainOnSignal(s *server, log hclog.Logger) bool {
	signal.Ignore(os.Interrupt)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	log.Debug("stopping: SIGTERM")
	timeout := time.NewTimer(drainTimeout)
	defer timeout.Stop()
	select {
	case <-s.drain():
		return true
	case <-timeout.C:
		log.Warn("an export was still open and is aborted")
		return false
	}
}

// stop waits until all answers have left the process, for limit at most, and
// closes the connections.
func stop(rpc *grpc.Server, limit time.Duration) {
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		rpc.GracefulStop()
	}()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-graceful:
	case <-timeout.C:
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
