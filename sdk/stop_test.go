package sdk

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// heldListener is a socket on which a test can hold back the server's answers.
type heldListener struct {
	net.Listener
	mu sync.RWMutex // held for writing while writes are held back
}

type heldConn struct {
	net.Conn
	l *heldListener
}

func (l *heldListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &heldConn{c, l}, err
}

func (c *heldConn) Write(b []byte) (int, error) {
	c.l.mu.RLock()
	defer c.l.mu.RUnlock()
	return c.Conn.Write(b)
}

// served is a plugin's server on a socket, and a connection to it.
func served(t *testing.T, s *server) (*heldListener, *grpc.Server, *grpc.ClientConn, streams) {
	t.Helper()
	streams := newStreams()
	rpc := grpc.NewServer(append(protocol.ServerOptions(), grpc.ChainStreamInterceptor(streams.intercept))...)
	pb.RegisterDestinationServiceServer(rpc, s)
	grpc_health_v1.RegisterHealthServer(rpc, health.NewServer())
	socket := filepath.Join(t.TempDir(), "s")
	plain, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l := &heldListener{Listener: plain}
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+socket, append(protocol.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		rpc.Stop()
		<-served
	})
	return l, rpc, conn, streams
}

// The answer to a commit reaches the host however long it takes to write it,
// and although a stream that is not ours stays open.
func TestTheLastAnswerLeavesBeforeTheEnd(t *testing.T) {
	t.Parallel()
	const limit = time.Minute // far more than the test takes
	committed := make(chan struct{})
	s, err := newServer(testPlugin(&double{commit: func(context.Context, Run, Receipt) error {
		close(committed)
		return nil
	}}), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	l, rpc, conn, streams := served(t, s)

	foreign, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = foreign.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := protocol.NewClient(conn)
	if _, err := c.Configure(t.Context(), Project{ID: 1}, "test", []byte(`{"path":"/"}`)); err != nil {
		t.Fatal(err)
	}
	e := opened(t, c, testRun(1, 1))
	if _, err := e.Prepare(t.Context(), batch.Totals{}); err != nil {
		t.Fatal(err)
	}

	l.mu.Lock()
	answer := make(chan error, 1)
	go func() {
		_, err := e.Commit(t.Context())
		answer <- err
	}()
	<-committed
	<-s.drain()
	stopped := make(chan time.Duration, 1)
	go func() {
		began := time.Now()
		streams.end()
		stop(rpc, limit)
		stopped <- time.Since(began)
	}()
	time.AfterFunc(500*time.Millisecond, l.mu.Unlock)
	if err := <-answer; err != nil {
		t.Errorf("Commit = %v", err)
	}
	if took := <-stopped; took >= limit {
		t.Errorf("the end took %s", took)
	}
	if _, err := foreign.Recv(); err == nil {
		t.Error("the foreign stream goes on")
	}
}

// When exports are aborted because draining takes too long, one that waits for
// its host ends at once, and one that is answering sends its answer: the host
// must not have to ask whether the run was committed.
func TestAnAnswerOutlivesTheAbortOfOthers(t *testing.T) {
	t.Parallel()
	committed, finish := make(chan struct{}), make(chan struct{})
	s, err := newServer(testPlugin(&double{commit: func(context.Context, Run, Receipt) error {
		close(committed)
		<-finish
		return nil
	}}), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	l, rpc, conn, streams := served(t, s)
	c := protocol.NewClient(conn)
	for id := range int64(2) {
		if _, err := c.Configure(t.Context(), Project{ID: id + 1}, "test", []byte(`{"path":"/"}`)); err != nil {
			t.Fatal(err)
		}
	}
	waiting := testRun(1, 1)
	waiting.ProjectID = 2
	idle := opened(t, c, waiting)
	e := opened(t, c, testRun(1, 1))
	if _, err := e.Prepare(t.Context(), batch.Totals{}); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := e.Commit(t.Context())
		answer <- err
	}()
	<-committed
	drained := s.drain()
	streams.abort()
	if _, err := idle.Prepare(t.Context(), batch.Totals{}); !errors.Is(err, protocol.ErrLost) {
		t.Errorf("the export that waited: Prepare = %v, want ErrLost", err)
	}
	l.mu.Lock() // the answer is written slowly
	close(finish)
	<-drained
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		streams.end()
		stop(rpc, time.Minute)
	}()
	l.mu.Unlock()
	if err := <-answer; err != nil {
		t.Errorf("the export that was answering: Commit = %v", err)
	}
	<-stopped
}

// A host that does not read is not waited for.
func TestTheEndIsBounded(t *testing.T) {
	t.Parallel()
	rpc := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(rpc, health.NewServer())
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	endless, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = endless.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop(rpc, 10*time.Millisecond)
	if err := <-served; err != nil {
		t.Error(err)
	}
}
