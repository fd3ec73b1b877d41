package protocol

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

// Requests receives an export's messages. It is for one goroutine.
type Requests struct {
	stream pb.DestinationService_ExportServer
	next   request
}

// NewRequests returns the messages of a stream whose server has the options of
// ServerOptions.
func NewRequests(stream pb.DestinationService_ExportServer) *Requests {
	return &Requests{stream: stream}
}

// Recv returns the next message, valid until the next call: the memory of a
// batch is used again.
func (r *Requests) Recv() (*pb.ExportRequest, error) {
	if err := r.stream.RecvMsg(&r.next); err != nil {
		return nil, err
	}
	return r.next.message, nil
}

// request is where an export's messages are decoded to. A batch's payload, a
// mebibyte as a rule, stays where it was received.
type request struct {
	message *pb.ExportRequest
	wire    []byte // the message as received
	rest    []byte // a batch without its payload
	batch   pb.ExportRequest_Batch
	whole   pb.ExportRequest
}

// receive copies a message out of the transport's buffers and decodes it.
func (r *request) receive(data mem.BufferSlice) error {
	n := data.Len()
	if cap(r.wire) < n {
		r.wire = make([]byte, n, n+n/8)
	}
	r.wire = r.wire[:n]
	data.CopyTo(r.wire)
	return r.decode()
}

// The numbers of the fields that hold a payload.
const (
	batchField   protowire.Number = 3 // of ExportRequest
	payloadField protowire.Number = 3 // of Batch
)

// decode decodes a message that is nothing but a batch in place, and any other
// one as a whole.
func (r *request) decode() error {
	number, kind, tag := protowire.ConsumeTag(r.wire)
	if tag > 0 && number == batchField && kind == protowire.BytesType {
		body, length := protowire.ConsumeBytes(r.wire[tag:])
		if length > 0 && tag+length == len(r.wire) {
			return r.decodeBatch(body)
		}
	}
	r.message = new(pb.ExportRequest)
	return proto.Unmarshal(r.wire, r.message)
}

// decodeBatch takes the payload out of the batch's fields and decodes the
// others. As in protobuf, the last of several payloads counts.
func (r *request) decodeBatch(body []byte) error {
	r.rest = r.rest[:0]
	var payload []byte
	for len(body) > 0 {
		number, kind, tag := protowire.ConsumeTag(body)
		if tag < 0 {
			return fmt.Errorf("decode batch: %w", protowire.ParseError(tag))
		}
		length := protowire.ConsumeFieldValue(number, kind, body[tag:])
		if length < 0 {
			return fmt.Errorf("decode batch: %w", protowire.ParseError(length))
		}
		if number == payloadField && kind == protowire.BytesType {
			payload, _ = protowire.ConsumeBytes(body[tag:])
		} else {
			r.rest = append(r.rest, body[:tag+length]...)
		}
		body = body[tag+length:]
	}
	if r.batch.Batch == nil {
		r.batch.Batch = new(pb.Batch)
	}
	if err := proto.Unmarshal(r.rest, r.batch.Batch); err != nil { // resets it
		return fmt.Errorf("decode batch: %w", err)
	}
	r.batch.Batch.Payload = payload
	r.whole.Message = &r.batch
	r.message = &r.whole
	return nil
}
