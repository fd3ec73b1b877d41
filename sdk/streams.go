package sdk

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

// errStopping is the answer to a stream that ends because the process does. The
// host takes it for a stream that was cut, and asks what became of the run.
var errStopping = status.Error(codes.Unavailable, "the plugin is stopping")

// streams ends the streams of a server that stops. Those of go-plugin (its
// broker, its copy of standard output) last as long as the connection: a graceful
// stop would wait for them. Those of this protocol end by themselves, unless they
// are aborted.
type streams struct {
	stop    chan struct{} // closed by end
	aborted chan struct{} // closed by abort
}

func newStreams() streams {
	return streams{stop: make(chan struct{}), aborted: make(chan struct{})}
}

// end ends the streams of go-plugin.
func (s streams) end() { close(s.stop) }

// abort ends open exports: at once if they wait for the host, else when they have
// sent the answer that they are working at. Their contexts end.
func (s streams) abort() { close(s.aborted) }

func (s streams) intercept(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if strings.HasPrefix(info.FullMethod, "/"+pb.DestinationService_ServiceDesc.ServiceName+"/") {
		return s.own(srv, stream, next)
	}
	ended := make(chan error, 1)
	go func() { ended <- next(srv, stream) }() // ends with the stream
	select {
	case err := <-ended:
		return err
	case <-s.stop:
		return errStopping
	}
}

// own serves a stream of this protocol.
func (s streams) own(srv any, stream grpc.ServerStream, next grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	a := &abortable{ServerStream: stream, ctx: ctx}
	ended := make(chan error, 1)
	go func() { ended <- next(srv, a) }() // ends with the stream
	select {
	case err := <-ended:
		return err
	case <-s.aborted:
	}
	waits := a.abort()
	cancel(errStopping)
	if waits {
		return errStopping
	}
	return <-ended
}

// abortable is a stream whose handler gets no message after abort.
type abortable struct {
	grpc.ServerStream
	ctx context.Context

	mu        sync.Mutex
	aborted   bool
	receiving bool // the handler waits for a message
}

// abort refuses further messages. It reports whether the handler waits for one.
func (a *abortable) abort() (waits bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aborted = true
	return a.receiving
}

func (a *abortable) Context() context.Context { return a.ctx }

func (a *abortable) RecvMsg(m any) error {
	if !a.receive(true) {
		return errStopping
	}
	err := a.ServerStream.RecvMsg(m)
	if !a.receive(false) && err == nil {
		// The stream has ended: no answer would be delivered.
		return errStopping
	}
	return err
}

// receive notes whether the handler waits for a message. It reports false after
// abort.
func (a *abortable) receive(waits bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.receiving = waits && !a.aborted
	return !a.aborted
}
