package protocol

import (
	"bytes"
	"runtime"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

func batchMessage(payload []byte) *pb.ExportRequest {
	return &pb.ExportRequest{Message: &pb.ExportRequest_Batch{Batch: &pb.Batch{
		Rows: 3, Codec: pb.Codec_CODEC_NDJSON_DEFLATE, Payload: payload, PayloadCrc32C: 7, RowsBytes: 1 << 40, RowsCrc32: 9, Flags: 5,
	}}}
}

func wire(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// in cuts a message into buffers, as it comes in frames.
func in(b []byte, size int) mem.BufferSlice {
	var s mem.BufferSlice
	for len(b) > 0 {
		n := min(size, len(b))
		s = append(s, mem.SliceBuffer(b[:n]))
		b = b[n:]
	}
	return s
}

// A request holds what protobuf's own decoder makes of the same bytes.
func TestRequests(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	twice := append(wire(t, batchMessage([]byte("first"))), wire(t, batchMessage([]byte("second")))...)
	messages := map[string][]byte{
		"open":           wire(t, &pb.ExportRequest{Message: &pb.ExportRequest_Open{Open: &pb.Open{}}}),
		"batch":          wire(t, batchMessage([]byte("payload"))),
		"large batch":    wire(t, batchMessage(big)),
		"no payload":     wire(t, batchMessage(nil)),
		"empty batch":    wire(t, &pb.ExportRequest{Message: &pb.ExportRequest_Batch{Batch: &pb.Batch{}}}),
		"two batches":    twice, // merged
		"nothing":        {},
		"unknown fields": append(wire(t, &pb.ExportRequest{Message: &pb.ExportRequest_Commit{Commit: &pb.Commit{}}}), 0xf8, 0x01, 0x01),
	}
	c, r := newCodec(buffers), &request{}
	for range 2 { // the second time in memory that was used before
		for name, b := range messages {
			want := new(pb.ExportRequest)
			if err := proto.Unmarshal(b, want); err != nil {
				t.Fatal(name, err)
			}
			if err := c.Unmarshal(in(b, 16<<10), r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !proto.Equal(r.message, want) {
				t.Errorf("%s: decoded differently", name)
			}
		}
	}
}

func TestRequestsDoNotAllocateAPayload(t *testing.T) {
	b := in(wire(t, batchMessage(make([]byte, 1<<20))), 16<<10)
	c, r := newCodec(buffers), &request{}
	if err := c.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	n := allocatedBytes(100, func() {
		if err := c.Unmarshal(b, r); err != nil {
			t.Fatal(err)
		}
	})
	if n > 4096 {
		t.Errorf("%d bytes are allocated for each batch", n)
	}
}

// allocatedBytes returns how many bytes a call of fn allocates, on average.
func allocatedBytes(calls uint64, fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		fn()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / calls
}

func FuzzRequest(f *testing.F) {
	f.Add(wire(f, batchMessage([]byte("payload"))))
	f.Add([]byte{0x1a, 0x02, 0x1a, 0x05})
	c := newCodec(buffers)
	f.Fuzz(func(t *testing.T, b []byte) {
		want := new(pb.ExportRequest)
		wantErr := proto.Unmarshal(b, want)
		r := &request{}
		err := c.Unmarshal(in(b, 5), r)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("decoded with %v, protobuf with %v", err, wantErr)
		}
		if err == nil && !proto.Equal(r.message, want) {
			t.Fatalf("decoded %v, protobuf %v", r.message, want)
		}
	})
}
