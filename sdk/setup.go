package sdk

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// SetupRequest is the input of Plugin.Setup.
type SetupRequest struct {
	// Projects are those that are exported to the destination; at least one.
	Projects []Project
	// Destination is the destination's name in the configuration.
	Destination string
	Format      SetupFormat
	// Unknown are the attributes that the configuration sets and whose values are
	// not known, such as a key that does not exist yet. JSON does not have them.
	Unknown []string
	// JSON is the destination block as one object, as in Config.
	JSON []byte
}

// Decode reads the attributes into a struct with json tags, as Config.Decode
// does.
func (r SetupRequest) Decode(into any) error { return decode(r.JSON, into) }

// Sets reports whether the configuration sets an attribute whose value is not
// known.
func (r SetupRequest) Sets(attribute string) bool { return slices.Contains(r.Unknown, attribute) }

func (s *server) Setup(_ context.Context, r *pb.SetupRequest) (*pb.SetupResponse, error) {
	if s.plugin.Setup == nil {
		return nil, status.Error(codes.Unimplemented, "this plugin has no setup text")
	}
	steps, err := s.setup(protocol.SetupRequestFromProto(r))
	if err != nil {
		return nil, protocol.ToStatus(err)
	}
	return protocol.SetupStepsToProto(steps), nil
}

func (s *server) setup(r protocol.SetupRequest) (protocol.SetupSteps, error) {
	if len(r.Projects) == 0 || (r.Format != SetupCommands && r.Format != SetupTerraform) {
		return protocol.SetupSteps{}, Permanent(errors.New("a setup needs a project and a format that this plugin knows"))
	}
	config, found := complete(s.plugin.Schema, r.Config)
	if found.HasErrors() {
		return protocol.SetupSteps{Diagnostics: found}, nil
	}
	steps, err := s.plugin.Setup(SetupRequest{
		Projects: r.Projects, Destination: r.Destination, Format: r.Format, Unknown: r.Unknown, JSON: config,
	})
	mistakes, err := diagnose(err)
	if err != nil {
		return protocol.SetupSteps{}, err
	}
	if mistakes.HasErrors() {
		steps = nil
	}
	return protocol.SetupSteps{Diagnostics: mistakes, Steps: steps}, nil
}
