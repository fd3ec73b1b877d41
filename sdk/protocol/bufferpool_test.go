package protocol

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

// checkRetained compares the pool's account with the buffers that it holds.
func checkRetained(t *testing.T, p *bufferPool) {
	t.Helper()
	held := 0
	for _, f := range p.free {
		for _, b := range f.stack {
			held += cap(*b)
		}
	}
	if held != p.retained || held > p.limit {
		t.Errorf("%d bytes are held, %d are accounted for, the limit is %d", held, p.retained, p.limit)
	}
}

func TestBufferPoolReusesBuffers(t *testing.T) {
	p := newBufferPool(retainedLimit)
	for _, length := range []int{0, 1, 4 << 10, 4<<10 + 1, 16 << 10, 700 << 10, 1 << 20, 1<<20 + 100, 4<<20 + 100} {
		first := p.Get(length)
		if len(*first) != length || cap(*first) > max(4<<10, 4*length) {
			t.Errorf("a buffer for %d bytes has length %d and capacity %d", length, len(*first), cap(*first))
		}
		*first = (*first)[:length/2] // a padded frame
		p.Put(first)
		second := p.Get(length)
		if second != first || len(*second) != length {
			t.Errorf("the buffer of %d bytes was not reused", length)
		}
		if third := p.Get(length); third == second {
			t.Errorf("a buffer of %d bytes has two users", length)
		}
		p.Put(second)
		checkRetained(t, p)
	}
}

func TestBufferPoolIsBounded(t *testing.T) {
	p := newBufferPool(3 << 20)
	// more than fits of each of two sizes
	var taken []*[]byte
	for range 300 {
		taken = append(taken, p.Get(16<<10), p.Get(32<<10))
	}
	for _, b := range taken {
		p.Put(b)
		checkRetained(t, p)
	}
	if n, m := len(p.free[1].stack), len(p.free[2].stack); n != 96 || m != 48 {
		t.Errorf("%d and %d buffers are kept, and half of the limit holds 96 and 48", n, m)
	}
	// a size that is in use now takes the place of one that was
	b := p.Get(1 << 20)
	p.Put(b)
	checkRetained(t, p)
	if p.Get(1<<20) != b {
		t.Error("a full pool does not take a buffer of another size")
	}
	p.Put(b)
	// a size that was in use before does not
	late := p.Get(2 << 20)
	p.Get(16 << 10)
	p.Get(32 << 10)
	p.Get(1 << 20)
	held := p.retained
	p.Put(late)
	checkRetained(t, p)
	if p.retained < held {
		t.Error("buffers in use made way for one that is not")
	}
	// buffers of other sizes are not kept
	held = p.retained
	large, foreign := p.Get(5<<20), make([]byte, 5000)
	p.Put(large)
	p.Put(&foreign)
	p.Put(new([]byte))
	if p.retained != held {
		t.Error("a buffer of another size was kept")
	}
	checkRetained(t, p)
}

// A short message that follows a long one holds nothing of it, on either side.
func TestMessagesHoldNothingOfEarlierOnes(t *testing.T) {
	p := newBufferPool(retainedLimit)
	c, r := newCodec(p), &request{}
	lengths := []int{1<<20 + 10, 600 << 10, 550 << 10, 2 << 20, 1<<20 + 20, 3000, 2000, 3000, 100, 0}
	for i, length := range lengths {
		m := batchMessage(bytes.Repeat([]byte{byte('a' + i)}, length))
		if length == 0 {
			m.GetBatch().Payload = nil
		}
		encoded, err := c.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded.Materialize(), wire(t, m)) {
			t.Errorf("a batch of %d bytes is encoded differently", length)
		}
		decoded := new(pb.ExportRequest)
		if err := c.Unmarshal(encoded, decoded); err != nil || !proto.Equal(decoded, m) {
			t.Errorf("a batch of %d bytes is decoded differently: %v", length, err)
		}
		if err := c.Unmarshal(in(encoded.Materialize(), 16<<10), r); err != nil || !proto.Equal(r.message, m) {
			t.Errorf("a batch of %d bytes is received differently: %v", length, err)
		}
		encoded.Free()
		if !proto.Equal(decoded, m) || !proto.Equal(r.message, m) {
			t.Errorf("a decoded batch of %d bytes refers to the buffer", length)
		}
		checkRetained(t, p)
	}
	if p.retained == 0 {
		t.Error("no buffer came from the pool")
	}
}

func TestMarshalDoesNotAllocateAPayload(t *testing.T) {
	c := newCodec(newBufferPool(retainedLimit))
	m := batchMessage(make([]byte, 1<<20))
	send := func() {
		encoded, err := c.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		encoded.Free()
	}
	send()
	if n := allocatedBytes(100, send); n > 4096 {
		t.Errorf("%d bytes are allocated for each batch", n)
	}
}
