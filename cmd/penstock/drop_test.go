package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host"
)

// dropping is a data directory with three records in quarantine.
type dropping struct {
	host.Operations
	dropped []host.QuarantineFilter
}

func (d *dropping) Quarantine(context.Context, host.QuarantineFilter) (*host.QuarantineList, error) {
	return &host.QuarantineList{Counts: []host.QuarantineCount{{Source: "collector.web", Reason: "unknown_token", Count: 3, OnlyCounted: 1}}}, nil
}

func (d *dropping) DropQuarantine(_ context.Context, f host.QuarantineFilter) (*host.DropReport, error) {
	d.dropped = append(d.dropped, f)
	return &host.DropReport{Records: 3, Counts: []host.QuarantineCount{}}, nil
}

// Nothing is dropped without a yes, from the terminal or the command line.
func TestDropAsks(t *testing.T) {
	t.Parallel()
	const question = "Drop 3 records for good? [y/N] "
	for name, tt := range map[string]struct {
		answer             string
		asks, yes, machine bool
		dropped            bool
		said               string
	}{
		"yes":                     {answer: "Yes\n", asks: true, dropped: true, said: question + "dropped 3 records\n"},
		"y":                       {answer: "y", asks: true, dropped: true, said: question + "dropped 3 records\n"},
		"no":                      {answer: "n\n", asks: true, said: question},
		"enter":                   {answer: "\n", asks: true, said: question},
		"end of file":             {asks: true, said: question},
		"no terminal":             {answer: "y\n"},
		"no terminal, with --yes": {yes: true, dropped: true, said: "dropped 3 records\n"},
		"json":                    {answer: "y\n", asks: true, machine: true},
		"json, with --yes":        {yes: true, machine: true, dropped: true, said: `"records": 3`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := &cli{in: strings.NewReader(tt.answer), asks: tt.asks, out: &out, err: &out, json: tt.machine}
			d := &dropping{}
			err := c.drop(t.Context(), d, host.QuarantineFilter{Source: "collector.web"}, tt.yes)
			var usage usageError
			if tt.dropped != (err == nil) || tt.dropped != (len(d.dropped) == 1) || errors.As(err, &usage) != (!tt.dropped && (!tt.asks || tt.machine)) {
				t.Errorf("dropped %v, %v", d.dropped, err)
			}
			if !strings.Contains(out.String(), tt.said) || tt.machine == strings.Contains(out.String(), "REASON") || !tt.machine && !strings.Contains(out.String(), "unknown_token  3        0          1") {
				t.Errorf("it says\n%s", out.String())
			}
			if tt.dropped && (d.dropped[0].Before.IsZero() || d.dropped[0].Source != "collector.web") {
				t.Errorf("dropped %+v", d.dropped[0])
			}
		})
	}
}

// recovering is a pipeline whose destination has two runs that the catalog does
// not know.
type recovering struct {
	host.Operations
	resent int
}

func (r *recovering) RecoverPipeline(_ context.Context, name string, resend bool) (*host.Recovery, error) {
	found := &host.Recovery{Pipeline: name, Destination: "s3.lake", Agreed: 3, Recorded: 4, Committed: 5, Differs: true, GoneRows: 1200, GoneFrom: "2026-01-01", GoneTo: "2026-01-03"}
	if resend {
		r.resent++
		found.NextRun = 6
	}
	return found, nil
}

// Rows are sent again only after a yes, and every answer names the runs whose rows may
// be there twice.
func TestResendAsks(t *testing.T) {
	t.Parallel()
	const question = "Send again all rows that came after run 3? [y/N] "
	const twice = "\nif rows are sent again, those of the destination's runs 4 to 5 that this journal has, too, will be there twice\n"
	for name, tt := range map[string]struct {
		answer                     string
		resend, asks, yes, machine bool
		resent                     int
		failed                     bool
		said                       string
	}{
		"only compared":           {said: "add --resend"},
		"rows that are gone":      {said: "\n1,200 rows of 2026-01-01 to 2026-01-03 that came after run 3 cannot be sent again"},
		"yes":                     {resend: true, answer: "y\n", asks: true, resent: 1, said: question},
		"no":                      {resend: true, answer: "n\n", asks: true, failed: true, said: question},
		"no terminal":             {resend: true, failed: true, said: "both have the runs up to 3"},
		"no terminal, with --yes": {resend: true, yes: true, resent: 1, said: "from run 6 on"},
		"json":                    {resend: true, machine: true, failed: true},
		"json, with --yes":        {resend: true, machine: true, yes: true, resent: 1, said: `"next_run": 6`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := &cli{in: strings.NewReader(tt.answer), asks: tt.asks, out: &out, err: &out, json: tt.machine}
			r := &recovering{}
			err := c.recover(t.Context(), r, "ev", tt.resend, tt.yes)
			if r.resent != tt.resent || (err != nil) != tt.failed || !strings.Contains(out.String(), tt.said) || tt.yes && strings.Contains(out.String(), "[y/N]") ||
				strings.Count(out.String(), twice) != map[bool]int{false: 1}[tt.machine] {
				t.Errorf("resent %d times, %v; it says\n%s", r.resent, err, out.String())
			}
		})
	}
}
