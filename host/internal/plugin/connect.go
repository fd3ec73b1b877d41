package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// newClient makes a go-plugin client for one start; a client cannot be started
// twice.
func newClient(p *process, timeout time.Duration) *goplugin.Client {
	r := p.run
	return goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.Plugins(nil),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		GRPCDialOptions:  append(protocol.DialOptions(), grpc.WithChainStreamInterceptor(p.conn.intercept)),
		StartTimeout:     timeout,
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: r.dir.path},
		Logger:           hclog.NewNullLogger(), // its messages are in our errors
		// A Go plugin's os.Stdout and os.Stderr come through the connection.
		SyncStdout: &writer{logs: p.logs, level: slog.LevelInfo},
		SyncStderr: &writer{logs: p.logs, level: slog.LevelInfo},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			// spec holds go-plugin's own variables. The last one of a name counts.
			r.cmd.Env = append(append(r.cmd.Env, spec.Env...), socketDirEnv+"="+r.dir.sockets)
			return r, nil
		},
	})
}

// connect takes the process from its start to its first answer.
func (p *process) connect(ctx context.Context) error {
	// go-plugin's calls take no context. They return when the process ends.
	stop := context.AfterFunc(ctx, func() { p.run.signal(syscall.SIGKILL) })
	defer stop()
	if _, err := p.client.Start(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, err := p.client.Client()
	if err != nil {
		return err
	}
	p.ready = true
	p.version = p.client.NegotiatedVersion()
	client, err := raw.Dispense(protocol.Name)
	if err != nil {
		return err
	}
	p.rpc = client.(*protocol.Client)
	return p.health(ctx)
}

// capturedConn is the connection that go-plugin makes and, when its first call
// on it fails, forgets.
type capturedConn struct {
	p atomic.Pointer[grpc.ClientConn]
}

func (c *capturedConn) intercept(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.p.Store(cc)
	return streamer(ctx, desc, cc, method, opts...)
}

func (c *capturedConn) close() {
	if cc := c.p.Load(); cc != nil {
		_ = cc.Close()
	}
}

// health asks the standard health service whether the plugin serves.
func (p *process) health(ctx context.Context) error {
	r, err := healthpb.NewHealthClient(p.conn.p.Load()).Check(ctx, &healthpb.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err != nil {
		return err
	}
	if r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("the plugin's health is %s", r.GetStatus())
	}
	return nil
}
