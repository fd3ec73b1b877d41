package service

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// checked is a plugin that answers checks with its results.
type checked struct {
	destination.Plugin
	results []protocol.CheckResult
	err     error
}

func (checked) Configure(context.Context, protocol.Project, []byte) (protocol.Configured, error) {
	return protocol.Configured{}, nil
}

func (c checked) Check(context.Context, int64) ([]protocol.CheckResult, error) {
	return c.results, c.err
}

// A check has a result for every destination of the configuration, also for those whose
// plugin has no check, and those that no pipeline uses.
func TestCheckDestinations(t *testing.T) {
	t.Parallel()
	shop := &config.Project{Name: "shop", ID: 1}
	used, unused := &config.Destination{Type: "x", Name: "used"}, &config.Destination{Type: "x", Name: "unused"}
	configured := &config.Config{
		Destinations: []*config.Destination{used, unused},
		Pipelines:    []*config.Pipeline{{Name: "events", Project: shop, Destination: used}},
	}
	noPipeline := operation.DestinationCheck{Destination: "x.unused", Skipped: true, Detail: "no pipeline exports to it"}
	noCheck := operation.DestinationCheck{Destination: "x.used", Project: "shop", Skipped: true, Detail: "this plugin has no check"}
	for _, tt := range []struct {
		name   string
		plugin checked
		ask    string
		want   []operation.DestinationCheck // nil: the name is unknown
	}{
		{"all", checked{results: []protocol.CheckResult{{Action: "write", OK: true}}}, "", []operation.DestinationCheck{
			{Destination: "x.used", Project: "shop", Action: "write", OK: true}, noPipeline,
		}},
		{"fails", checked{err: errors.New("cut")}, "x.used", []operation.DestinationCheck{
			{Destination: "x.used", Project: "shop", Action: "connect", Detail: "cut"},
		}},
		{"all, no check", checked{}, "", []operation.DestinationCheck{noCheck, noPipeline}},
		{"no check", checked{}, "x.used", []operation.DestinationCheck{noCheck}},
		{"unused", checked{}, "x.unused", []operation.DestinationCheck{noPipeline}},
		{"unknown", checked{}, "x.other", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set := destination.Open(configured, func(string, string) destination.Plugin { return tt.plugin }, slog.New(slog.DiscardHandler))
			s := New(Options{Config: func() *config.Config { return configured }, Destinations: set}, nil)
			got, err := s.CheckDestinations(t.Context(), tt.ask)
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("the error is %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
