package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

// validate returns all mistakes that the plugin's author has made in p.
func (p Plugin) validate() error {
	var errs []error
	if !schema.ValidName(p.Name) {
		errs = append(errs, fmt.Errorf("Name %q is not [a-z][a-z0-9_]*", p.Name))
	}
	if p.New == nil {
		errs = append(errs, errors.New("New is nil"))
	}
	if len(p.Capabilities.Streams) == 0 || len(p.Capabilities.Modes) == 0 {
		errs = append(errs, errors.New("Capabilities have no streams or no modes"))
	}
	if p.Capabilities.Partitioning == 0 || p.Capabilities.Guarantee == 0 {
		errs = append(errs, errors.New("Capabilities have no partitioning or no guarantee"))
	}
	if err := p.Schema.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("Schema: %w", err))
	}
	for _, name := range p.Environment {
		if !protocol.ValidEnvironment(name) {
			errs = append(errs, fmt.Errorf("Environment: %q is neither the name of a variable nor a beginning of at least three characters and a \"*\"", name))
		}
	}
	return errors.Join(errs...)
}

func (s *server) Configure(ctx context.Context, r *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	configured, err := s.configure(ctx, r)
	if err != nil {
		return nil, protocol.ToStatus(err)
	}
	return protocol.ConfiguredToProto(configured), nil
}

func (s *server) configure(ctx context.Context, r *pb.ConfigureRequest) (protocol.Configured, error) {
	config, found := complete(s.plugin.Schema, r.GetConfigJson())
	if found.HasErrors() {
		return protocol.Configured{Diagnostics: found}, nil
	}
	about := protocol.ProjectFromProto(r.GetProject())
	log := s.log.With("destination", r.GetDestination(), "project", about.ID)
	destination, err := s.plugin.New(ctx, Config{
		Project: about, Destination: r.GetDestination(), Logger: log, JSON: config,
	})
	mistakes, err := diagnose(err)
	if err != nil {
		return protocol.Configured{}, err
	}
	if mistakes.HasErrors() {
		return protocol.Configured{Diagnostics: mistakes}, nil
	}
	p := newProject(destination, log)
	targets, err := s.targets(destination)
	if err != nil {
		return protocol.Configured{}, errors.Join(err, p.close())
	}
	if err := s.replace(ctx, about.ID, p); err != nil {
		return protocol.Configured{}, errors.Join(err, p.close())
	}
	return protocol.Configured{Diagnostics: mistakes, Targets: targets}, nil
}

// diagnose separates an error of New that holds mistakes in the configuration
// from other errors.
func diagnose(err error) (Diagnostics, error) {
	var found Diagnostics
	if errors.As(err, &found) {
		return found, nil
	}
	var e *protocol.Error
	if errors.As(err, &e) && e.Class == protocol.Configuration {
		return Diagnostics{mistake("", e.Error(), e.Hint)}, nil
	}
	return nil, err
}

// targets returns the destination's targets. It checks that the destination has
// the methods and the targets that the plugin's Capabilities promise.
func (s *server) targets(d Destination) ([]Target, error) {
	if d == nil {
		return nil, Permanent(errors.New("bug in the plugin: New returned neither a destination nor an error"))
	}
	if _, ok := d.(Inventorier); s.plugin.Capabilities.Inventory && !ok {
		return nil, Permanent(errors.New("bug in the plugin: it states an inventory and has no Inventory method"))
	}
	if _, ok := d.(Eraser); s.plugin.Capabilities.Erase && !ok {
		return nil, Permanent(errors.New("bug in the plugin: it states that it erases and has no Erase method"))
	}
	targets := d.Targets()
	for _, stream := range s.plugin.Capabilities.Streams {
		if !slices.ContainsFunc(targets, func(t Target) bool { return t.Stream == stream && t.URI != "" }) {
			return nil, Permanent(fmt.Errorf("bug in the plugin: it takes %s and has no target for it", stream))
		}
	}
	return targets, nil
}
