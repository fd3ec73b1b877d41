package protocol

import (
	"context"
	"errors"
	"net/rpc"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
)

// Version is the version of the protocol that this package speaks.
const Version = 1

// Name is the key of the destination in a plugin set.
const Name = "destination"

// EnvParent names the environment variable in which a host passes its process
// id. A plugin ends when that process does.
const EnvParent = "PENSTOCK_PARENT"

const (
	// MaxMessage is the most bytes of a message, either way. A batch is at most
	// 4 MiB; a receipt of a run of many days is the next largest.
	MaxMessage = 8 << 20

	// streamWindow and connWindow are how much may be on its way to a peer that
	// does not read: enough for two batches of the usual size without a pause,
	// and part of the plugin's memory.
	streamWindow = 4 << 20
	connWindow   = 8 << 20

	// bufferSize is that of reads and writes on the socket. gRPC's 32 KiB cost
	// a system call per two frames.
	bufferSize = 256 << 10
)

// Handshake tells a plugin that it was started by a host. The cookie keeps
// people from running a plugin by mistake; it need not be secret.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  Version,
	MagicCookieKey:   "PENSTOCK_PLUGIN",
	MagicCookieValue: "destination",
}

// Plugins are the plugin sets by protocol version, for either side's
// VersionedPlugins. A host passes nil; Dispense(Name) then returns a *Client.
func Plugins(server pb.DestinationServiceServer) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{Version: {Name: &destination{server: server}}}
}

// DialOptions are those of the host's connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		experimental.WithBufferPool(buffers),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec(buffers)), grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	}
}

// ServerOptions are those of the plugin's server.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		experimental.BufferPool(buffers),
		grpc.ForceServerCodecV2(newCodec(buffers)),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(bufferSize),
		grpc.WriteBufferSize(bufferSize),
	}
}

// destination is the go-plugin adapter of either side.
type destination struct {
	server pb.DestinationServiceServer
}

var _ plugin.GRPCPlugin = (*destination)(nil)

var errNetRPC = errors.New("destination plugins speak gRPC only")

func (d *destination) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if d.server == nil {
		return errors.New("no destination to serve")
	}
	pb.RegisterDestinationServiceServer(s, d.server)
	return nil
}

func (d *destination) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

func (d *destination) Server(*plugin.MuxBroker) (any, error) { return nil, errNetRPC }

func (d *destination) Client(*plugin.MuxBroker, *rpc.Client) (any, error) { return nil, errNetRPC }
