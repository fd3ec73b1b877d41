package plugin

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	destinationv1 "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"google.golang.org/grpc"
)

var wireHandshake = goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "PENSTOCK_PLUGIN", MagicCookieValue: "destination"}

type wirePlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (wirePlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }
func (wirePlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return wireClient{destinationv1.NewDestinationServiceClient(c)}, nil
}

type wireClient struct {
	c destinationv1.DestinationServiceClient
}

func (c wireClient) Drain(ctx context.Context) error {
	_, err := c.c.Drain(ctx, &destinationv1.DrainRequest{})
	return err
}

func wirePlugins() map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{1: {"destination": wirePlugin{}}}
}
func wireVersions() []int                { return []int{1} }
func wireDialOptions() []grpc.DialOption { return nil }

func dispense(raw goplugin.ClientProtocol) (wireClient, error) {
	c, err := raw.Dispense("destination")
	if err != nil {
		return wireClient{}, err
	}
	return c.(wireClient), nil
}
