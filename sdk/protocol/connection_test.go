package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
)

// poisonPool overwrites buffers when they come back: a reader that still uses
// one gets other bytes, and the race detector reports it.
type poisonPool struct{ *bufferPool }

func (p poisonPool) Put(b *[]byte) {
	whole := (*b)[:cap(*b)]
	for i := range whole {
		whole[i] = 0xdb
	}
	p.bufferPool.Put(b)
}

// echo is a destination that rejects every batch's payload as a row, and
// answers Prepare.
type echo struct {
	pb.UnimplementedDestinationServiceServer
	silent bool // only counts
}

func (s *echo) Export(stream pb.DestinationService_ExportServer) error {
	requests := NewRequests(stream)
	for row := uint64(0); ; {
		m, err := requests.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case m.GetPrepare() != nil:
			receipt := &pb.Receipt{}
			if err := stream.Send(&pb.ExportResponse{Message: &pb.ExportResponse_Prepared{Prepared: &pb.Prepared{Receipt: receipt}}}); err != nil {
				return err
			}
		case m.GetBatch() != nil && !s.silent:
			payload := m.GetBatch().GetPayload()
			if PayloadCRC32C(payload) != m.GetBatch().GetPayloadCrc32C() {
				return ToStatus(&Error{Class: Permanent, Err: errors.New("the payload was damaged on its way")})
			}
			rejected := &pb.Rejected{Rows: []*pb.RejectedRow{{Row: row, Line: payload}}}
			row++
			if err := stream.Send(&pb.ExportResponse{Message: &pb.ExportResponse_Rejected{Rejected: rejected}}); err != nil {
				return err
			}
		}
	}
}

// connect serves a destination over a unix socket and connects to it. Both
// sides use the pool.
func connect(t testing.TB, destination pb.DestinationServiceServer, pool mem.BufferPool) *Client {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(ServerOptions(),
		experimental.BufferPool(pool), grpc.ForceServerCodecV2(newCodec(pool)))...)
	pb.RegisterDestinationServiceServer(server, destination)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), append(DialOptions(),
		experimental.WithBufferPool(pool), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec(pool))),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return NewClient(conn)
}

// Several exports send and receive long and short messages through one pool at
// once. Each message arrives as it was sent, although its sender changes the
// payload right after Send.
func TestBuffersAreNotReusedWhileTheyAreRead(t *testing.T) {
	pool := poisonPool{newBufferPool(retainedLimit)}
	client := connect(t, &echo{}, pool)
	var exports sync.WaitGroup
	for export := range 4 {
		exports.Go(func() {
			if err := sendPatterns(t, client, uint64(export)); err != nil {
				t.Errorf("export %d: %v", export, err)
			}
		})
	}
	exports.Wait()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	checkRetained(t, pool.bufferPool)
	if pool.retained == 0 {
		t.Error("no buffer came from the pool")
	}
}

// sendPatterns sends payloads of one repeated byte each and compares the rows
// that come back with them.
func sendPatterns(t *testing.T, client *Client, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 1))
	var lengths []int
	for range 20 {
		lengths = append(lengths, random.IntN(1<<20)+1, random.IntN(8<<10)+1)
	}
	pattern := func(i int) byte { return byte(seed)<<6 | byte(i) }
	rows := 0
	e, err := client.Export(t.Context(), func(rejected []RejectedRow) error {
		for _, r := range rejected {
			if want := bytes.Repeat([]byte{pattern(rows)}, lengths[rows]); !bytes.Equal(r.Line, want) {
				return fmt.Errorf("row %d is not as it was sent", rows)
			}
			rows++
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer e.Close()
	payload := make([]byte, 1<<20)
	for i, length := range lengths {
		for k := range payload[:length] {
			payload[k] = pattern(i)
		}
		if err := e.Send(t.Context(), &batch.Batch{Rows: 1, Payload: payload[:length]}); err != nil {
			return err
		}
	}
	if _, err := e.Prepare(t.Context(), batch.Totals{}); err != nil {
		return err
	}
	if rows != len(lengths) {
		return fmt.Errorf("%d of %d rows came back", rows, len(lengths))
	}
	return nil
}
